"""What holds at any moment, whatever failed before."""

from __future__ import annotations

from derp_auth_lite.native_client import NativeAuthClient

NOBODY = {
    "a session without its user": (
        "SELECT s.id FROM auth_sessions s LEFT JOIN auth_users u ON u.id = s.user_id"
        " WHERE u.id IS NULL"
    ),
    "a living session of a disabled user": (
        "SELECT s.id FROM auth_sessions s JOIN auth_users u ON u.id = s.user_id"
        " WHERE NOT u.is_active"
    ),
    "an organization without an owner": (
        "SELECT o.id FROM auth_organizations o WHERE NOT EXISTS (SELECT 1 FROM auth_org_members m"
        " WHERE m.org_id = o.id AND m.role = 'owner')"
    ),
    "a membership without its user or organization": (
        "SELECT m.user_id FROM auth_org_members m"
        " LEFT JOIN auth_users u ON u.id = m.user_id"
        " LEFT JOIN auth_organizations o ON o.id = m.org_id"
        " WHERE u.id IS NULL OR o.id IS NULL"
    ),
    "an identity without its user": (
        "SELECT i.subject FROM auth_identities i LEFT JOIN auth_users u ON u.id = i.user_id"
        " WHERE u.id IS NULL"
    ),
    "a user without the event that made it": (
        "SELECT u.id FROM auth_users u WHERE NOT EXISTS (SELECT 1 FROM auth_events e"
        " WHERE e.user_id = u.id AND e.outcome = 'success'"
        " AND e.action IN ('sign_up', 'user_created', 'sign_in'))"
    ),
    "an event of a user that was never made": (
        "SELECT e.id FROM auth_events e LEFT JOIN auth_users u ON u.id = e.user_id"
        " WHERE e.action IN ('sign_up', 'user_created') AND e.outcome = 'success'"
        " AND u.id IS NULL AND NOT EXISTS (SELECT 1 FROM auth_events d"
        " WHERE d.user_id = e.user_id AND d.action = 'user_deleted')"
    ),
}


def check(auth: NativeAuthClient) -> None:
    """Assert that the database holds nothing half done."""
    with auth._db.connection():
        for what, query in NOBODY.items():
            assert auth._db.database.execute_sql(query).fetchall() == [], what
        if auth._db.dialect == "sqlite":
            assert auth._db.database.execute_sql("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert auth._db.database.execute_sql("PRAGMA foreign_key_check").fetchall() == []
