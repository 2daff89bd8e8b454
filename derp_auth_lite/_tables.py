"""The tables, for building queries: unbound, so that every statement names its database.

The schema itself is made by the scripts in ``_migrations``; a test holds the two together.
"""

from __future__ import annotations

import peewee

from .orm import JSONField, UTCDateTimeField

__all__ = [
    "TABLES",
    "Event",
    "Identity",
    "OrgMember",
    "Organization",
    "OutboxMail",
    "RemoteSession",
    "Session",
    "User",
]


class _Table(peewee.Model):  # type: ignore[misc]  # Peewee is not typed
    class Meta:
        legacy_table_names = False


class User(_Table):
    """An account. ``token_stamp`` binds every outstanding one-time token to its present state."""

    id = peewee.UUIDField(primary_key=True)
    email = peewee.TextField(unique=True)
    email_confirmed_at = UTCDateTimeField(null=True)
    password_hash = peewee.TextField(null=True)
    first_name = peewee.TextField(null=True)
    last_name = peewee.TextField(null=True)
    username = peewee.TextField(null=True)
    image_url = peewee.TextField(null=True)
    role = peewee.TextField()
    is_active = peewee.BooleanField()
    is_superuser = peewee.BooleanField()
    metadata = JSONField()
    token_stamp = peewee.TextField()
    failed_sign_ins = peewee.IntegerField()
    created_at = UTCDateTimeField()
    updated_at = UTCDateTimeField()
    last_sign_in_at = UTCDateTimeField(null=True)

    class Meta:
        table_name = "auth_users"
        indexes = ((("created_at", "id"), False),)


class Identity(_Table):
    """What a provider calls a user: (provider, subject)."""

    provider = peewee.TextField()
    subject = peewee.TextField()
    user = peewee.ForeignKeyField(User, column_name="user_id", on_delete="CASCADE")
    email = peewee.TextField(null=True)
    created_at = UTCDateTimeField()
    last_sign_in_at = UTCDateTimeField(null=True)

    class Meta:
        table_name = "auth_identities"
        primary_key = peewee.CompositeKey("provider", "subject")


class Session(_Table):
    """A signed-in session; its refresh token is computed from this row and the secret.

    ``expires_at`` is its absolute end, ``active_until`` the earlier of that and the idle limit.
    """

    id = peewee.UUIDField(primary_key=True)
    user = peewee.ForeignKeyField(User, column_name="user_id", on_delete="CASCADE", index=False)
    refresh_counter = peewee.BigIntegerField()
    refreshed_at = UTCDateTimeField()
    active_until = UTCDateTimeField(index=True)
    expires_at = UTCDateTimeField()
    org_id = peewee.UUIDField(null=True, index=True)
    user_agent = peewee.TextField(null=True)
    ip_address = peewee.TextField(null=True)
    created_at = UTCDateTimeField()

    class Meta:
        table_name = "auth_sessions"
        indexes = ((("user", "created_at", "id"), False), (("created_at", "id"), False))


class Organization(_Table):
    """An organization."""

    id = peewee.UUIDField(primary_key=True)
    name = peewee.TextField()
    slug = peewee.TextField(unique=True)
    metadata = JSONField()
    created_at = UTCDateTimeField()
    updated_at = UTCDateTimeField()

    class Meta:
        table_name = "auth_organizations"
        indexes = ((("created_at", "id"), False),)


class OrgMember(_Table):
    """A membership. No foreign key to users, who may live in a hosted service.

    ``org_created_at`` is the organization's, so that a user's organizations are listed by an index.
    """

    org = peewee.ForeignKeyField(
        Organization, column_name="org_id", on_delete="CASCADE", index=False
    )
    user_id = peewee.UUIDField()
    role = peewee.TextField()
    org_created_at = UTCDateTimeField()
    created_at = UTCDateTimeField()
    updated_at = UTCDateTimeField()

    class Meta:
        table_name = "auth_org_members"
        primary_key = peewee.CompositeKey("org", "user_id")
        indexes = (
            (("org", "created_at", "user_id"), False),
            (("user_id", "org_created_at", "org"), False),
        )


class OutboxMail(_Table):
    """An intent to send a mail: no token in it, and no look-up behind it."""

    id = peewee.UUIDField(primary_key=True)
    kind = peewee.TextField()
    email = peewee.TextField()
    payload = JSONField()
    attempts = peewee.IntegerField()
    last_error = peewee.TextField(null=True)
    created_at = UTCDateTimeField()
    due_at = UTCDateTimeField(null=True)
    lease = peewee.TextField(null=True)
    expires_at = UTCDateTimeField()
    failed_at = UTCDateTimeField(null=True)

    class Meta:
        table_name = "auth_outbox"
        indexes = ((("due_at",), False), (("created_at", "id"), False), (("expires_at",), False))


class RemoteSession(_Table):
    """What is known here of a session that a hosted service keeps; ids are the service's.

    ``ended_at`` refuses access tokens of the session that have not expired yet.
    """

    id = peewee.UUIDField(primary_key=True)
    user_id = peewee.UUIDField(index=True)
    org_id = peewee.UUIDField(null=True, index=True)
    created_at = UTCDateTimeField()
    ended_at = UTCDateTimeField(null=True, index=True)

    class Meta:
        table_name = "auth_remote_sessions"


class Event(_Table):
    """Who did what, with which outcome. Append-only; outlives the user it speaks of."""

    id = peewee.UUIDField(primary_key=True)
    user_id = peewee.UUIDField(null=True)
    action = peewee.TextField()
    outcome = peewee.TextField()
    reason = peewee.TextField(null=True)
    session_id = peewee.UUIDField(null=True)
    address_hash = peewee.TextField(null=True)
    ip_address = peewee.TextField(null=True)
    user_agent = peewee.TextField(null=True)
    details = JSONField()
    created_at = UTCDateTimeField()

    class Meta:
        table_name = "auth_events"
        indexes = ((("user_id", "created_at", "id"), False), (("created_at", "id"), False))


TABLES: tuple[type[peewee.Model], ...] = (
    User,
    Identity,
    Session,
    Organization,
    OrgMember,
    OutboxMail,
    RemoteSession,
    Event,
)
