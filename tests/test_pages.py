"""Pages by cursor: nothing twice, nothing left out, and no cursor but one's own."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import uuid

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from derp_auth_lite._keys import KeyRing
from derp_auth_lite._local import member_store, org_store
from derp_auth_lite._native import accounts, sessions
from derp_auth_lite._pages import FROM_NEWEST, Cursors, bounds, page_size
from derp_auth_lite._statements import SQLITE
from derp_auth_lite.exceptions import InvalidCursorError, LastOwnerError

from .support import SECRET

KEYS = KeyRing(SECRET)
NOBODY = "00000000-0000-4000-8000-000000000000"


class Users:
    """All users."""

    oldest_first = False

    def __init__(self, auth):
        self.auth = auth
        self.made = 0

    def add(self):
        self.made += 1
        return self.auth.create_user(email=f"{uuid.uuid4().hex}@example.com").id

    def remove(self, key):
        self.auth.delete_user(key)

    def pages(self, **page):
        return self.auth.list_users_by_cursor(**page)

    def whole(self):
        return self.auth.list_users()

    def key(self, record):
        return record.id


class SessionsOfUser(Users):
    """The sessions of one user among others'."""

    def __init__(self, auth):
        super().__init__(auth)
        self.user, self.other = (super(SessionsOfUser, self).add() for _ in range(2))

    def add(self):
        self.auth._sessions.open(self.other, "default")
        return self.auth._sessions.open(self.user, "default").id

    def remove(self, key):
        self.auth.sign_out(key)

    def pages(self, **page):
        return self.auth.list_sessions_by_cursor(user_id=self.user, **page)

    def whole(self):
        return self.auth.list_sessions(user_id=self.user)

    def key(self, record):
        return record.session_id


class Orgs(Users):
    """All organizations."""

    def __init__(self, auth):
        super().__init__(auth)
        self.user = super().add()

    def add(self):
        slug = uuid.uuid4().hex
        return self.auth.create_org(name="x", slug=slug, creator_id=self.user).id

    def remove(self, key):
        self.auth.delete_org(org_id=key)

    def pages(self, **page):
        return self.auth.list_orgs_by_cursor(**page)

    def whole(self):
        return self.auth.list_orgs()


class OrgsOfUser(Orgs):
    """The organizations of one user, some of them made long before they joined."""

    def __init__(self, auth):
        super().__init__(auth)
        self.member = Users.add(self)
        self.older = [super(OrgsOfUser, self).add() for _ in range(3)]

    def add(self):
        made = super().add()
        self.older.insert(0, made)
        org_id = self.older.pop()
        self.auth.add_org_member(org_id=org_id, user_id=self.member)
        return org_id

    def remove(self, key):
        self.auth.remove_org_member(org_id=key, user_id=self.member)

    def pages(self, **page):
        return self.auth.list_orgs_by_cursor(user_id=self.member, **page)

    def whole(self):
        return self.auth.list_orgs(user_id=self.member)


class MembersOfOrg(Users):
    """The members of one organization, the oldest first."""

    oldest_first = True

    def __init__(self, auth):
        super().__init__(auth)
        self.org_id = auth.create_org(name="x", slug="acme", creator_id=super().add()).id

    def add(self):
        user_id = super().add()
        self.auth.add_org_member(org_id=self.org_id, user_id=user_id)
        return user_id

    def remove(self, key):
        """Remove whoever it is: somebody else owns the organization from now on."""
        heirs = [member.user_id for member in self.whole() if member.user_id != key]
        if heirs:
            self.auth.update_org_member(org_id=self.org_id, user_id=heirs[0], role="owner")
        self.auth.delete_user(key)

    def pages(self, **page):
        return self.auth.list_org_members_by_cursor(org_id=self.org_id, **page)

    def whole(self):
        return self.auth.list_org_members(org_id=self.org_id)

    def key(self, record):
        return record.user_id


LISTS = (Users, SessionsOfUser, Orgs, OrgsOfUser, MembersOfOrg)


@pytest.fixture(params=LISTS, ids=lambda kind: kind.__name__)
def rows(request, auth):
    return request.param(auth)


def walk(rows, limit):
    """Return the rows of all pages, and how many pages there were."""
    seen, after, pages = [], None, 0
    while True:
        page = rows.pages(limit=limit, after=after)
        assert len(page.data) <= limit
        assert page.next_cursor is None or page.next_cursor != after
        assert page.has_more == (page.next_cursor is not None)
        seen += page.data
        pages += 1
        if not page.has_more:
            return seen, pages
        assert len(page.data) == limit
        after = page.next_cursor


def test_pages_and_offsets_show_the_same_rows_in_the_same_order(rows, clock):
    for number in range(7):
        clock.advance(seconds=number % 3)  # some rows are of the same moment
        rows.add()
    whole = rows.whole()
    moments = [getattr(row, "created_at", None) or row.metadata["created_at"] for row in whole]
    assert moments == sorted(moments, reverse=not rows.oldest_first)
    for limit in (1, 2, len(whole) - 1, len(whole), len(whole) + 1, 1000, 10**9):
        seen, pages = walk(rows, limit)
        assert seen == whole
        assert pages == max(1, -(-len(whole) // limit))


# What happens between two pages: rows come, rows go, the clock goes on, or back.
CHANGES = st.lists(
    st.one_of(
        st.just(("add", 0)),
        st.tuples(st.just("remove"), st.integers(0, 30)),
        st.tuples(st.just("pass"), st.sampled_from([1, 3600, -5])),
    ),
    max_size=5,
)


@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    before=st.lists(st.sampled_from([0, 1, -1]), min_size=3, max_size=12),
    limit=st.integers(1, 4),
    between=st.lists(CHANGES, min_size=1, max_size=6),
)
def test_what_is_not_touched_is_seen_once_whatever_comes_and_goes_meanwhile(
    rows, clock, before, limit, between
):
    for key in [rows.key(row) for row in rows.whole()]:
        with contextlib.suppress(LastOwnerError):
            rows.remove(key)
    for step in before:
        clock.advance(microseconds=step)
        rows.add()
    untouched = {rows.key(row) for row in rows.whole()}
    come, gone = set(), set()
    seen, after = [], None
    changes = iter(between)
    while True:
        page = rows.pages(limit=limit, after=after)
        seen += [rows.key(row) for row in page.data]
        assert len(seen) == len(set(seen))
        if not page.has_more:
            break
        after = page.next_cursor
        for change, argument in next(changes, ()):
            if change == "add":
                come.add(rows.add())
            elif change == "pass":
                clock.advance(seconds=argument)
            else:
                victims = sorted(untouched - gone - {rows.key(rows.whole()[0])})
                if victims:
                    victim = victims[argument % len(victims)]
                    rows.remove(victim)
                    gone.add(victim)
    assert untouched - gone <= set(seen) <= untouched | come


def test_the_row_that_a_cursor_points_at_may_go(rows):
    for _ in range(4):
        rows.add()
    page = rows.pages(limit=2)
    rest = rows.pages(limit=10, after=page.next_cursor).data
    if not rows.oldest_first:
        rows.remove(rows.key(page.data[-1]))
    else:
        rows.remove(rows.key(page.data[1]))
    assert rows.pages(limit=10, after=page.next_cursor).data == rest


def cursor_of(rows):
    rows.add()
    rows.add()
    cursor = rows.pages(limit=1).next_cursor
    assert cursor is not None
    return cursor


def test_a_cursor_goes_into_a_url_as_it_is_and_shows_no_id(rows):
    cursor = cursor_of(rows)
    assert re.fullmatch(r"[A-Za-z0-9_-]{75}", cursor)
    first = rows.key(rows.whole()[0])
    assert first not in cursor
    assert first.replace("-", "") not in cursor


@pytest.mark.parametrize("place", [0, 20, 43, 50, 60, 74])
def test_a_changed_cursor_is_refused(rows, place):
    cursor = cursor_of(rows)
    other = "A" if cursor[place] != "A" else "B"
    for changed in (cursor[:place] + other + cursor[place + 1 :], cursor[:place], cursor + "A"):
        with pytest.raises(InvalidCursorError):
            rows.pages(after=changed)


def test_a_cursor_belongs_to_one_list(auth):
    lists = [kind(auth) for kind in LISTS[:-1]]
    second = [SessionsOfUser(auth), OrgsOfUser(auth)]
    members = MembersOfOrg(auth)
    lists += [*second, members]
    cursors = {rows: cursor_of(rows) for rows in lists}
    for rows in lists:
        for other, cursor in cursors.items():
            if other is rows:
                assert rows.pages(limit=1, after=cursor).data
            else:
                with pytest.raises(InvalidCursorError):
                    rows.pages(limit=1, after=cursor)


def test_a_cursor_of_another_secret_is_refused_and_of_a_previous_one_taken(auth, make_auth):
    rows = Users(auth)
    cursor = cursor_of(rows)
    secret = "another secret of the tests, long enough"
    with pytest.raises(InvalidCursorError):
        make_auth(jwt={"secret": secret}).list_users_by_cursor(after=cursor)
    previous = [auth._config.jwt.secret]
    renewed = make_auth(jwt={"secret": secret, "previous_secrets": previous})
    assert renewed.list_users_by_cursor(after=cursor).data == rows.pages(after=cursor).data


@given(st.text(max_size=120) | st.from_regex(r"[A-Za-z0-9_-]{75}", fullmatch=True))
def test_no_text_is_a_cursor_but_what_was_given_out(cursor):
    cursors = Cursors(KEYS)
    with pytest.raises(InvalidCursorError):
        cursors.position("users", cursor, FROM_NEWEST)


@given(
    st.datetimes(timezones=st.just(FROM_NEWEST[0].tzinfo)),
    st.uuids(),
    st.text(max_size=50).filter(lambda name: name.isprintable()),
)
def test_a_position_survives_the_round_trip(moment, row_id, name):
    cursors = Cursors(KEYS)
    rows = [(moment, row_id)] * 2
    page = cursors.page(
        name, lambda **_: rows, tuple, limit=1, after=None, position=lambda row: row
    )
    assert cursors.position(name, page.next_cursor, FROM_NEWEST) == (moment, str(row_id))
    with pytest.raises(InvalidCursorError):
        cursors.position(f"{name}x", page.next_cursor, FROM_NEWEST)


def test_a_page_has_at_most_a_thousand_rows_and_at_least_one():
    assert [page_size(limit) for limit in (1, 1000, 1001, 10**30)] == [1, 1000, 1000, 1000]
    for wrong, error in ((0, ValueError), (-1, ValueError), ("1", TypeError), (True, TypeError)):
        with pytest.raises(error):
            page_size(wrong)


def test_no_limit_is_all_rows_and_huge_numbers_fit_the_database():
    everything = bounds(None, None)
    assert everything["offset"] == 0
    assert bounds(10**30, 10**30) == {"limit": everything["limit"], "offset": everything["limit"]}


# What the databases say of how they would find a page.

PAGES = {
    "users": accounts._LIST,
    "sessions": sessions._LIST,
    "sessions of a user": sessions._LIST_OF_USER,
    "organizations": org_store._LIST,
    "organizations of a user": org_store._LIST_OF_USER,
    "members": member_store._LIST,
}


def plan(auth, database, statement):
    """Return what the database would do, one step a line."""
    engine = auth._db
    values = {
        "after_time": FROM_NEWEST[0], "after_id": NOBODY, "now": engine.now, "user_id": NOBODY,
        "org_id": NOBODY, "limit": 11, "offset": 0,
    }  # fmt: skip
    sql, parameters = statement.bind(engine.database, engine.dialect, values)
    if engine.dialect == SQLITE:
        with contextlib.closing(sqlite3.connect(database)) as connection:
            rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
        return "\n".join(row[3] for row in rows)
    with psycopg.connect(database) as connection:
        # Small tables are read whole; the question is what can be done with large ones.
        for choice in ("seqscan", "bitmapscan", "sort"):
            connection.execute(f"SET enable_{choice} = off")
        rows = connection.execute(f"EXPLAIN {sql}", parameters).fetchall()
    return "\n".join(row[0] for row in rows)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_read_off_an_index_without_sorting(auth, database, name):
    steps = plan(auth, database, PAGES[name])
    if auth._db.dialect == SQLITE:
        assert "B-TREE" not in steps
        assert "SCAN" not in steps
        assert re.search(r"INDEX \w+ \(.*\(\w*created_at,\w+\)[<>]", steps)
    else:
        assert "Sort" not in steps
        assert "Seq Scan" not in steps
        assert re.search(r"Index Cond: .*ROW\(\w*created_at", steps)
