"""What a page of ten costs far down a list of a million: by cursor, and by OFFSET.

``DERP_AUTH_LITE_TEST_PAGE_ROWS`` sets another number of rows.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid

import psycopg
import pytest

from ..support import MovableClock, native_client
from .interleaved import Row, medians
from .results import report

ROWS = int(os.environ.get("DERP_AUTH_LITE_TEST_PAGE_ROWS", "1000000"))
PAGE = 10
FAR = (ROWS // PAGE * 99) // 100  # page 99,000 of 100,000
ORG = str(uuid.UUID(int=1))


def fill(database):
    """Write a million users who are members of one organization, a microsecond apart."""
    if database.startswith("postgres"):
        return _fill_postgresql(database)
    return _fill_sqlite(database)


def _fill_sqlite(database):
    now = 1_700_000_000_000_000
    ids = [str(uuid.uuid4()) for _ in range(ROWS)]
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "INSERT INTO auth_organizations VALUES (?, 'x', 'x', '{}', ?, ?)", [ORG, now, now]
        )
        connection.executemany(
            "INSERT INTO auth_users (id, email, role, is_active, is_superuser, metadata,"
            " token_stamp, failed_sign_ins, created_at, updated_at)"
            " VALUES (?, ?, 'default', 1, 0, '{}', '', 0, ?, ?)",
            ((key, f"{key}@example.com", now + n, now + n) for n, key in enumerate(ids)),
        )
        connection.executemany(
            "INSERT INTO auth_org_members (org_id, user_id, role, org_created_at, created_at,"
            " updated_at) VALUES (?, ?, 'owner', ?, ?, ?)",
            ((ORG, key, now, now + n, now + n) for n, key in enumerate(ids)),
        )
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("ANALYZE")


def _fill_postgresql(database):
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO auth_organizations VALUES (%s, 'x', 'x', '{}', now(), now())", [ORG]
        )
        connection.execute(
            "INSERT INTO auth_users (id, email, role, is_active, is_superuser, metadata,"
            " token_stamp, failed_sign_ins, created_at, updated_at)"
            " SELECT gen_random_uuid(), n || '@example.com', 'default', true, false, '{}', '', 0,"
            " now() + n * interval '1 microsecond', now() FROM generate_series(1, %s) n",
            [ROWS],
        )
        connection.execute(
            "INSERT INTO auth_org_members (org_id, user_id, role, org_created_at, created_at,"
            " updated_at) SELECT %s, id, 'owner', now(), created_at, now() FROM auth_users",
            [ORG],
        )
        connection.execute("VACUUM ANALYZE auth_users, auth_org_members")


def cursor_before(page_of, number):
    """Return the cursor of page *number*, walking there in the longest strides."""
    rows, after = (number - 1) * PAGE, None
    while rows:
        stride = min(rows, 1000)
        after = page_of(limit=stride, after=after).next_cursor
        rows -= stride
    return after


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_last_pages_by_cursor_cost_what_the_first_does(kind, request, tmp_path):
    if kind == "sqlite":
        database = str(tmp_path / "auth.db")
    else:
        database = request.getfixturevalue("new_postgres_url")
    rows = []
    with native_client(database, MovableClock()) as auth:
        fill(database)

        def members(**page):
            return auth.list_org_members_by_cursor(org_id=ORG, **page)

        def members_by_offset(**page):
            return auth.list_org_members(org_id=ORG, **page)

        for name, by_cursor, by_offset in (
            ("users", auth.list_users_by_cursor, auth.list_users),
            ("members", members, members_by_offset),
        ):
            far = cursor_before(by_cursor, FAR)
            by_offset_of_far = by_offset(limit=PAGE, offset=(FAR - 1) * PAGE)
            assert by_cursor(limit=PAGE, after=far).data == by_offset_of_far
            cursors = medians({
                "first": lambda page=by_cursor: page(limit=PAGE),
                "far": lambda page=by_cursor, after=far: page(limit=PAGE, after=after),
            })  # fmt: skip
            offset = medians(
                {"far": lambda page=by_offset: page(limit=PAGE, offset=(FAR - 1) * PAGE)},
                rounds=5,
                calls=1,
            )
            rows += [
                Row(f"{name}: page {FAR:,} by cursor", cursors["far"], against, other, target)
                for against, other, target in (
                    ("page 1", cursors["first"], 1.2),
                    ("OFFSET", offset["far"], None),
                )
            ]
    report(f"Pages of ten of {ROWS:,}, {kind}", rows)
    assert all(row.ratio < (2 if row.against == "page 1" else 0.1) for row in rows)
