"""The first schema: users, identities, sessions, organizations, members, outbox, events.

The models are frozen copies: they say what the tables were when this script was written, whatever
becomes of ``derp_auth_lite._tables``.
"""

from __future__ import annotations

from typing import Any

from peewee import (
    BigIntegerField,
    BooleanField,
    CompositeKey,
    ForeignKeyField,
    IntegerField,
    Model,
    TextField,
    UUIDField,
)

from derp_auth_lite.orm import JSONField, UTCDateTimeField


def up(migrator: Any, db: Any) -> None:
    """Make the tables."""

    class Base(Model):  # type: ignore[misc]  # Peewee is not typed
        class Meta:
            database = db
            legacy_table_names = False

    class User(Base):
        id = UUIDField(primary_key=True)
        email = TextField(unique=True)
        email_confirmed_at = UTCDateTimeField(null=True)
        password_hash = TextField(null=True)
        first_name = TextField(null=True)
        last_name = TextField(null=True)
        username = TextField(null=True)
        image_url = TextField(null=True)
        role = TextField()
        is_active = BooleanField()
        is_superuser = BooleanField()
        metadata = JSONField()
        token_stamp = TextField()
        failed_sign_ins = IntegerField()
        created_at = UTCDateTimeField()
        updated_at = UTCDateTimeField()
        last_sign_in_at = UTCDateTimeField(null=True)

        class Meta:
            table_name = "auth_users"
            indexes = ((("created_at", "id"), False),)

    class Identity(Base):
        provider = TextField()
        subject = TextField()
        user = ForeignKeyField(User, column_name="user_id", on_delete="CASCADE")
        email = TextField(null=True)
        created_at = UTCDateTimeField()
        last_sign_in_at = UTCDateTimeField(null=True)

        class Meta:
            table_name = "auth_identities"
            primary_key = CompositeKey("provider", "subject")

    class Session(Base):
        id = UUIDField(primary_key=True)
        user = ForeignKeyField(User, column_name="user_id", on_delete="CASCADE", index=False)
        refresh_counter = BigIntegerField()
        refreshed_at = UTCDateTimeField()
        active_until = UTCDateTimeField(index=True)
        expires_at = UTCDateTimeField()
        org_id = UUIDField(null=True, index=True)
        user_agent = TextField(null=True)
        ip_address = TextField(null=True)
        created_at = UTCDateTimeField()

        class Meta:
            table_name = "auth_sessions"
            indexes = ((("user", "created_at", "id"), False), (("created_at", "id"), False))

    class Organization(Base):
        id = UUIDField(primary_key=True)
        name = TextField()
        slug = TextField(unique=True)
        metadata = JSONField()
        created_at = UTCDateTimeField()
        updated_at = UTCDateTimeField()

        class Meta:
            table_name = "auth_organizations"
            indexes = ((("created_at", "id"), False),)

    class OrgMember(Base):
        org = ForeignKeyField(Organization, column_name="org_id", on_delete="CASCADE", index=False)
        user_id = UUIDField()
        role = TextField()
        org_created_at = UTCDateTimeField()
        created_at = UTCDateTimeField()
        updated_at = UTCDateTimeField()

        class Meta:
            table_name = "auth_org_members"
            primary_key = CompositeKey("org", "user_id")
            indexes = (
                (("org", "created_at", "user_id"), False),
                (("user_id", "org_created_at", "org"), False),
            )

    class OutboxMail(Base):
        id = UUIDField(primary_key=True)
        kind = TextField()
        email = TextField()
        payload = JSONField()
        attempts = IntegerField()
        last_error = TextField(null=True)
        created_at = UTCDateTimeField()
        due_at = UTCDateTimeField(null=True)
        lease = TextField(null=True)
        expires_at = UTCDateTimeField()
        failed_at = UTCDateTimeField(null=True)

        class Meta:
            table_name = "auth_outbox"
            indexes = (
                (("due_at",), False),
                (("created_at", "id"), False),
                (("expires_at",), False),
            )

    class RemoteSession(Base):
        id = UUIDField(primary_key=True)
        user_id = UUIDField(index=True)
        org_id = UUIDField(null=True, index=True)
        created_at = UTCDateTimeField()
        ended_at = UTCDateTimeField(null=True, index=True)

        class Meta:
            table_name = "auth_remote_sessions"

    class Event(Base):
        id = UUIDField(primary_key=True)
        user_id = UUIDField(null=True)
        action = TextField()
        outcome = TextField()
        reason = TextField(null=True)
        session_id = UUIDField(null=True)
        address_hash = TextField(null=True)
        ip_address = TextField(null=True)
        user_agent = TextField(null=True)
        details = JSONField()
        created_at = UTCDateTimeField()

        class Meta:
            table_name = "auth_events"
            indexes = ((("user_id", "created_at", "id"), False), (("created_at", "id"), False))

    db.create_tables(
        [User, Identity, Session, Organization, OrgMember, OutboxMail, RemoteSession, Event],
        safe=False,
    )
