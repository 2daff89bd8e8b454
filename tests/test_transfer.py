"""Accounts out and in: nothing is lost between databases, and what is wrong is refused whole."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from derp_auth_lite._migrations import migrate
from derp_auth_lite._native.transfer import count_rows, export_lines, load, read_lines
from derp_auth_lite._tables import TABLES
from derp_auth_lite.exceptions import InvalidCredentialsError, InvalidTokenError, TransferError
from derp_auth_lite.orm import DatabaseEngine
from derp_auth_lite.password import Argon2Hasher
from derp_auth_lite.providers import OAuthUserInfo

from .support import PASSWORD, MovableClock, Request, native_client

ADA = "ada@example.com"
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
TIME = "2026-01-02T03:04:05.678901Z"
HASH = Argon2Hasher("cheapest").hash(PASSWORD)


@contextlib.contextmanager
def engine_on(database):
    engine = DatabaseEngine(database)
    engine.connect()
    migrate(engine)
    try:
        yield engine
    finally:
        engine.disconnect()


def user(number=1, **fields):
    return {
        "type": "user",
        "id": str(uuid.UUID(int=number)),
        "email": f"user{number}@example.com",
        "email_confirmed_at": TIME,
        "password_hash": HASH,
        "first_name": "Ada",
        "last_name": None,
        "username": None,
        "image_url": None,
        "role": "default",
        "is_active": True,
        "is_superuser": False,
        "metadata": {},
        "failed_sign_ins": 0,
        "created_at": TIME,
        "updated_at": TIME,
        "last_sign_in_at": None,
        **fields,
    }


def identity(number=1, user_id=1, **fields):
    return {
        "type": "identity",
        "provider": "google",
        "subject": str(number),
        "user_id": str(uuid.UUID(int=user_id)),
        "email": None,
        "created_at": TIME,
        "last_sign_in_at": TIME,
        **fields,
    }


def org(number=1, **fields):
    return {
        "type": "org",
        "id": str(uuid.UUID(int=number)),
        "name": "Engines",
        "slug": f"org-{number}",
        "metadata": {"plan": "free"},
        "created_at": TIME,
        "updated_at": TIME,
        **fields,
    }


def member(org_id=1, user_id=1, role="owner", **fields):
    return {
        "type": "member",
        "org_id": str(uuid.UUID(int=org_id)),
        "user_id": str(uuid.UUID(int=user_id)),
        "role": role,
        "created_at": TIME,
        "updated_at": TIME,
        **fields,
    }


def file_of(*records):
    """Return an export with these records."""
    counts = dict.fromkeys(("user", "identity", "org", "member"), 0)
    for record in records:
        counts[record["type"]] += 1
    header = {"format": "derp_auth_lite.accounts", "version": 1, "created_at": TIME}
    lines = (header, *records, {"type": "end", **counts})
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def load_file(engine, content, **options):
    return load(engine, read_lines(io.BytesIO(content)), **options)


def exported(engine):
    """Return all that an export has, in any order, without its header."""
    lines = list(export_lines(engine))
    assert len(lines) == count_rows(engine) + 2
    return sorted(lines[1:])


@pytest.fixture
def engine(database):
    with engine_on(database) as opened:
        yield opened


EVERYTHING = (
    user(1, metadata={"a": [1, 2.5, None, "é"], "b": {"c": True}}),
    user(2, email="b@x.test", password_hash=None, is_active=False, failed_sign_ins=7),
    user(3, is_superuser=True, role="admin", last_sign_in_at=TIME, email_confirmed_at=None),
    identity(1, 1),
    identity(2, 3, provider="github", email="Ada@GitHub.example"),
    org(1),
    org(2, metadata={}),
    member(1, 1),
    member(1, 2, "member"),
    member(2, 3),
)


class TestRoundTrip:
    def test_what_was_exported_is_imported_and_exported_again(self, engine):
        report = load_file(engine, file_of(*EVERYTHING))
        assert report.new == {"user": 3, "identity": 2, "org": 2, "member": 3}
        records = [json.loads(line) for line in list(export_lines(engine))[1:-1]]
        by_key = functools.partial(json.dumps, sort_keys=True)
        assert sorted(records, key=by_key) == sorted(EVERYTHING, key=by_key)

    def test_from_sqlite_to_postgresql_and_back_nothing_is_lost(self, tmp_path, postgres_url):
        """A user goes on signing in, with the old password, in the old organization."""
        clock = MovableClock()
        with native_client(tmp_path / "one.db", clock) as auth:
            ada = auth.sign_up(email=ADA, password=PASSWORD, metadata={"n": 1}).user
            auth.create_user(email="eve@example.com", confirmed=True)
            who = OAuthUserInfo(provider="google", id="7", email=ADA, email_verified=True)
            with auth._db.transaction():
                auth._identities.link(ada.id, who)
            auth.create_org(name="Engines", slug="engines", creator_id=ada.id)
            first = exported(auth._db)
        with native_client(postgres_url, clock) as auth:
            load_file(auth._db, "".join(_file(first)).encode())
            assert exported(auth._db) == first
            assert auth.sign_in_with_password(ADA, PASSWORD).user.metadata == {"n": 1}
            assert auth.get_org_member(slug="engines", user_id=ada.id).role == "owner"
            assert [found.subject for found in auth.list_identities(ada.id)] == ["7"]
            second = exported(auth._db)
        with engine_on(str(tmp_path / "two.db")) as engine:
            load_file(engine, "".join(_file(second)).encode())
            assert exported(engine) == second

    def test_pages_lose_and_repeat_nothing(self, engine):
        many = [user(number) for number in range(1, 2051)]
        many += [identity(number, number) for number in range(1, 1002)]
        load_file(engine, file_of(*many))
        records = [json.loads(line) for line in list(export_lines(engine))[1:-1]]
        assert len({record["id"] for record in records if record["type"] == "user"}) == 2050
        assert len(records) == len(many)

    def test_an_export_is_of_one_moment(self, engine, database):
        """Who comes while it is written is not in it; so no member lacks its user."""
        load_file(engine, file_of(user(1), org(1), member(1, 1)))
        lines = export_lines(engine)
        taken = [next(lines), next(lines)]
        with engine_on(database) as other:
            load_file(other, file_of(user(2), org(2), member(2, 2)))
        taken += lines
        assert json.loads(taken[-1]) == {
            "type": "end", "user": 1, "identity": 0, "org": 1, "member": 1
        }  # fmt: skip

    def test_the_secrets_of_links_and_sessions_are_not_in_it(self, auth):
        tokens = auth.sign_up(email=ADA, password=PASSWORD).tokens
        stamp = auth._accounts.by_email(ADA).token_stamp
        text = "".join(export_lines(auth._db))
        for secret in (stamp, tokens.access_token, tokens.refresh_token, "session"):
            assert secret not in text


def _file(lines):
    header = {"format": "derp_auth_lite.accounts", "version": 1, "created_at": TIME}
    order = ["user", "identity", "org", "member", "end"]
    by_kind = sorted(lines, key=lambda line: order.index(json.loads(line)["type"]))
    return [json.dumps(header) + "\n", *by_kind]


TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40
).filter(str.strip)
MOMENTS = st.timedeltas(timedelta(), timedelta(days=80_000)).map(
    lambda passed: (datetime(1971, 1, 1, tzinfo=UTC) + passed).isoformat()
)
JSON_OBJECTS = st.dictionaries(
    TEXT,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)


@st.composite
def account_files(draw):
    numbers = draw(st.lists(st.integers(1, 2**120), unique=True, min_size=1, max_size=5))
    users = [
        user(
            number,
            first_name=draw(st.none() | TEXT),
            role=draw(TEXT),
            metadata=draw(JSON_OBJECTS),
            is_active=draw(st.booleans()),
            password_hash=draw(st.sampled_from([None, HASH])),
            failed_sign_ins=draw(st.integers(0, 2**31 - 1)),
            created_at=draw(MOMENTS),
            last_sign_in_at=draw(st.none() | MOMENTS),
        )
        for number in numbers
    ]
    subjects = draw(st.lists(TEXT, unique=True, max_size=3))
    identities = [
        identity(user_id=draw(st.sampled_from(numbers)), subject=subject) for subject in subjects
    ]
    owners = draw(st.lists(st.sampled_from(numbers), max_size=3))
    orgs = [org(index, name=draw(TEXT).strip()) for index in range(1, len(owners) + 1)]
    members = [member(index, owner) for index, owner in enumerate(owners, 1)]
    return (*users, *identities, *orgs, *members)


@pytest.fixture(scope="module")
def two_engines(tmp_path_factory, postgres_server):
    from .servers import postgres

    with (
        postgres.new_database(postgres_server) as url,
        engine_on(str(tmp_path_factory.mktemp("a") / "a.db")) as one,
        engine_on(url) as two,
    ):
        yield one, two


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=account_files())
def test_any_accounts_go_from_one_database_to_the_other_and_back(two_engines, records):
    for engine in two_engines:
        with engine.transaction():
            for table in reversed(TABLES):
                engine.database.execute_sql(f"DELETE FROM {table._meta.table_name}")
    sqlite, postgres = two_engines
    load_file(sqlite, file_of(*records))
    first = exported(sqlite)
    load_file(postgres, "".join(_file(first)).encode())
    assert list(map(json.loads, exported(postgres))) == list(map(json.loads, first))
    again = load_file(sqlite, "".join(_file(exported(postgres))).encode())
    assert again.unchanged == dict(Counter(record["type"] for record in records))
    assert not again.new


class TestExisting:
    def test_the_same_file_again_changes_nothing(self, engine):
        load_file(engine, file_of(*EVERYTHING))
        report = load_file(engine, file_of(*EVERYTHING))
        assert report.unchanged == {"user": 3, "identity": 2, "org": 2, "member": 3}
        assert not report.new
        assert not report.changed

    def test_records_that_differ_are_refused_unless_somebody_says_what_to_do(self, engine):
        load_file(engine, file_of(user(1), user(2)))
        before = exported(engine)
        changed = file_of(user(3), user(1, first_name="Eve"), user(2))
        with pytest.raises(TransferError, match=r"1 record differs.*line 3: user user1@\S+ first"):
            load_file(engine, changed)
        assert exported(engine) == before

    def test_kept_ones_stay_and_new_ones_come(self, engine):
        load_file(engine, file_of(user(1)))
        report = load_file(engine, file_of(user(1, first_name="Eve"), user(2)), existing="keep")
        assert (report.kept, report.new) == ({"user": 1}, {"user": 1})
        assert any('"Ada"' in line and "user1@" in line for line in exported(engine))

    def test_updated_ones_are_as_the_file_says(self, engine):
        load_file(engine, file_of(*EVERYTHING))
        changed = [dict(record) for record in EVERYTHING]
        changed[0]["first_name"] = "Augusta"
        changed[3]["email"] = "a@x.test"
        changed[5]["slug"] = "new-slug"
        changed[8]["role"] = "admin"
        report = load_file(engine, file_of(*changed), existing="update")
        assert report.changed == {"user": 1, "identity": 1, "org": 1, "member": 1}
        assert load_file(engine, file_of(*changed)).unchanged["member"] == 3

    @pytest.mark.parametrize(
        ("fields", "ends"),
        [
            ({"password_hash": Argon2Hasher("cheapest").hash("another one")}, True),
            ({"email": "new@example.com"}, True),
            ({"is_active": False}, True),
            ({"first_name": "Eve"}, False),
        ],
    )
    def test_a_changed_way_in_ends_sessions_and_links(self, auth, fields, ends):
        result = auth.sign_up(email=ADA, password=PASSWORD)
        auth.request_password_recovery(email=ADA, recovery_url="https://app.test/reset")
        auth.deliver_mail()
        link = auth.email_client.sent[-1].token
        lines = [json.loads(line) for line in exported(auth._db)]
        record = next(line for line in lines if line["type"] == "user")
        load_file(auth._db, file_of({**record, **fields}), existing="update")
        assert (auth.authenticate(Request(result.tokens.access_token)) is None) is ends
        if ends:
            with pytest.raises(InvalidTokenError):
                auth.reset_password(link, "a wholly other one")
        else:
            assert auth.reset_password(link, "a wholly other one")

    def test_a_dry_run_says_what_would_be_and_changes_nothing(self, engine):
        load_file(engine, file_of(user(1), user(2)))
        before = exported(engine)
        content = file_of(user(1), user(2, first_name="Eve", role="x"), user(3))
        report = load_file(engine, content, dry_run=True)
        assert (report.new, report.changed, report.unchanged) == (
            {"user": 1},
            {"user": 1},
            {"user": 1},
        )
        assert report.differences == ["line 3: user user2@example.com: first_name, role"]
        assert exported(engine) == before

    def test_an_address_that_another_account_has_is_refused_or_left_out(self, engine):
        load_file(engine, file_of(user(1)))
        content = file_of(
            user(2, email="user1@example.com"), user(3), identity(1, 2), org(1),
            member(1, 2, "member"), member(1, 3),
        )  # fmt: skip
        for existing in ("refuse", "update"):
            with pytest.raises(
                TransferError, match=r"line 2: user1@example\.com: another user here"
            ):
                load_file(engine, content, existing=existing)
        report = load_file(engine, content, existing="keep")
        assert report.kept == {"user": 1, "identity": 1, "member": 1}
        assert report.new == {"user": 1, "org": 1, "member": 1}

    def test_an_update_cannot_take_anothers_address_or_identity(self, engine):
        load_file(engine, file_of(user(1), user(2), identity(1, 1)))
        before = exported(engine)
        for record in (user(1, email="user2@example.com"), identity(1, 2)):
            with pytest.raises(TransferError, match="line 2: "):
                load_file(engine, file_of(record), existing="update")
        assert exported(engine) == before


WRONG = {
    "an empty file": b"",
    "another file": b"hello\n",
    "an array": b"[]",
    "a newer version": file_of().replace(b'"version": 1', b'"version": 2'),
    "no end": file_of(user(1)).rpartition(b'{"type": "end"')[0],
    "a lost line": file_of(user(1), user(2)).replace(json.dumps(user(1)).encode() + b"\n", b""),
    "more after the end": file_of(user(1)) + b"{}\n",
    "an unknown kind": file_of().replace(b'"end"', b'"session"'),
    "a list for a record": file_of(user(1)).replace(b'{"type": "user"', b'[{"type": "user"'),
    "no UTF-8": file_of(user(1)).replace(b"Ada", b"\xff\xfe"),
    "NaN": file_of(user(1)).replace(b'"failed_sign_ins": 0', b'"failed_sign_ins": NaN'),
    "a number of 5,000 digits": file_of(user(1)).replace(b": 0", b": " + b"9" * 5000),
    "a thousand brackets": file_of(user(1)).replace(b"{}", b"[" * 100_000),
    "an endless line": b'{"format": "' + b"x" * 2_000_000,
}
REFUSED = {
    "an unknown field": user(1, is_god=True),
    "a missing field": {k: v for k, v in user(1).items() if k != "email"},
    "an id that is none": user(1, id="1"),
    "no id": user(1, id=None),
    "no address": user(1, email="nobody"),
    "an address not in its stored form": user(1, email="Ada@Example.com"),
    "two addresses": user(1, email="a@x.test, b@x.test"),
    "a password in the clear": user(1, password_hash=PASSWORD),
    "a hash beyond reason": user(1, password_hash=HASH.replace("m=8", "m=9999999")),
    "a hash with a surrogate": user(1, password_hash=f"pbkdf2_sha256$1$\ud800${'A' * 43}="),
    "a hash with a NUL": user(1, password_hash=f"pbkdf2_sha256$1$\0${'A' * 43}="),
    "a foreign hash beyond reason": user(1, password_hash="$2b$31$" + "a" * 53),
    "a naive time": user(1, created_at="2026-01-02T03:04:05"),
    "no time": user(1, created_at="yesterday"),
    "a number for a time": user(1, created_at=7),
    "a time before there was any": user(1, created_at="0001-01-01T00:00:00+14:00"),
    "a surrogate": user(1, first_name="\ud800"),
    "a NUL": user(1, metadata={"a": "\0"}),
    "a list for metadata": user(1, metadata=[]),
    "a text for a flag": user(1, is_superuser="false"),
    "no role": user(1, role=None),
    "a negative count": user(1, failed_sign_ins=-1),
    "a true count": user(1, failed_sign_ins=True),
    "a slug that is none": org(1, slug="../x"),
    "no subject": identity(1, subject=None),
    "an identity of nobody": identity(1, 99),
    "a member of nothing": member(99, 7),
    "a membership of nobody": member(1, 99),
}


class TestWhatIsWrong:
    @pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
    def test_a_file_that_is_none_is_one_line_and_nothing_is_imported(self, engine, content):
        with pytest.raises(TransferError) as refused:
            load_file(engine, content)
        assert len(str(refused.value)) < 200
        assert "\n" not in str(refused.value)
        assert count_rows(engine) == 0

    @pytest.mark.parametrize("record", REFUSED.values(), ids=REFUSED)
    def test_a_record_that_cannot_be_kept_is_named_by_its_line(self, engine, record):
        before = (user(7), org(7), member(7, 7)) if record["type"] != "user" else (user(7),)
        with pytest.raises(TransferError) as refused:
            load_file(engine, file_of(*before, record))
        assert f"line {len(before) + 2}: " in str(refused.value)
        assert PASSWORD not in str(refused.value)
        assert count_rows(engine) == 0

    def test_an_organization_without_an_owner_is_refused(self, engine):
        for members in ((), (member(1, 1, "member"),)):
            with pytest.raises(TransferError, match="no owner: org-1"):
                load_file(engine, file_of(user(1), org(1), *members))
        assert count_rows(engine) == 0

    def test_an_update_takes_no_organization_its_owner(self, engine):
        load_file(engine, file_of(user(1), org(1), member(1, 1)))
        with pytest.raises(TransferError, match="no owner"):
            load_file(engine, file_of(member(1, 1, "member")), existing="update")

    def test_a_slug_that_another_organization_has_is_refused(self, engine):
        load_file(engine, file_of(user(1), org(1), member(1, 1)))
        with pytest.raises(TransferError, match="another org here has this slug"):
            load_file(engine, file_of(org(2, slug="org-1"), member(2, 1)))

    def test_two_users_with_one_address_in_a_file_are_refused(self, engine):
        with pytest.raises(TransferError, match="line 3: "):
            load_file(engine, file_of(user(1), user(2, email="user1@example.com")))
        assert count_rows(engine) == 0

    def test_a_failure_in_the_middle_leaves_nothing(self, engine):
        def broken():
            yield from read_lines(io.BytesIO(file_of(*map(user, range(1, 1500)))))
            raise InvalidCredentialsError

        with pytest.raises(InvalidCredentialsError):
            load(engine, broken())
        assert count_rows(engine) == 0

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_a_damaged_file_raises_nothing_else(self, two_engines, data):
        content = bytearray(file_of(user(1), identity(1, 1), org(1), member(1, 1)))
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] = data.draw(st.integers(0, 255))
        with contextlib.suppress(TransferError):
            load_file(two_engines[0], bytes(content), dry_run=True)


def test_what_is_long_takes_seconds(engine):
    """5,000 users in a few seconds, on a slow machine too; a million is minutes."""
    began = datetime.now(UTC)
    load_file(engine, file_of(*map(user, range(1, 5001))))
    assert datetime.now(UTC) - began < timedelta(seconds=30)
