"""Accounts of other systems: what is taken, what is left out, and that old passwords sign in."""

# ruff: noqa: E501  a hash is one line
from __future__ import annotations

import io
import json
import sqlite3
import uuid
from contextlib import closing
from datetime import UTC, datetime

import pytest

from derp_auth_lite._native.transfer import Options, load, read_derp_database, read_source
from derp_auth_lite.exceptions import AuthBackendError, InvalidCredentialsError, TransferError

from .test_foreign_hashes import KNOWN
from .test_foreign_hashes import PASSWORD as FOREIGN_PASSWORD

NOW = datetime(2026, 6, 1, tzinfo=UTC)
# What Django 6.1's dumpdata wrote for users made with its own calls.
DJANGO = [
    {"model": "auth.user", "pk": 1, "fields": {"password": KNOWN["django pbkdf2"], "last_login": None, "is_superuser": False, "username": "ada", "first_name": "Ada", "last_name": "", "email": "Ada@example.com", "is_staff": True, "is_active": True, "date_joined": "2026-01-02T03:04:05.678Z", "groups": [], "user_permissions": []}},
    {"model": "auth.user", "pk": 3, "fields": {"password": "!Ogcf9iwlZ3O9Av8rXvKJhLTaAdGX9ZV4ZU4mEwlY", "last_login": "2026-02-01T00:00:00Z", "is_superuser": True, "username": "root", "first_name": "", "last_name": "", "email": "root@example.com", "is_staff": True, "is_active": False, "date_joined": "2026-01-02T03:04:05.678Z", "groups": [], "user_permissions": []}},
    {"model": "auth.group", "pk": 1, "fields": {"name": "editors", "permissions": []}},
]  # fmt: skip
NO_MAIL = {"model": "auth.user", "pk": 2, "fields": {**DJANGO[0]["fields"], "username": "nomail", "email": ""}}  # fmt: skip
SUPABASE = {
    "instance_id": "00000000-0000-0000-0000-000000000000",
    "id": "4d2bb3b0-7e2a-4f3e-9d39-5d3f1a2b3c4d",
    "aud": "authenticated",
    "role": "authenticated",
    "email": "ada@example.com",
    "encrypted_password": KNOWN["bcrypt"],
    "email_confirmed_at": "2024-01-02 03:04:05.123456+00",
    "last_sign_in_at": None,
    "raw_app_meta_data": {"provider": "email"},
    "raw_user_meta_data": {"first_name": "Ada", "plan": "free"},
    "is_super_admin": None,
    "created_at": "2024-01-02 03:04:05.123456+00",
    "updated_at": "2024-01-02 03:04:05.123456+00",
    "banned_until": None,
    "deleted_at": None,
    "is_anonymous": False,
}


def take(auth, source, content, existing="refuse", **options):
    """Import a dump; return the report."""
    if not isinstance(content, bytes):
        content = json.dumps(content).encode()
    taken = Options(now=NOW, **options)
    report = load(auth._db, read_source(source, io.BytesIO(content), taken), existing=existing)
    return report, taken


class TestDjango:
    def test_users_come_and_old_passwords_sign_in(self, auth):
        take(auth, "django", DJANGO)
        ada = auth.sign_in_with_password("ada@example.com", FOREIGN_PASSWORD).user
        assert (ada.username, ada.first_name, ada.last_name) == ("ada", "Ada", None)
        assert (ada.role, ada.is_superuser, ada.email_confirmed_at) == ("default", False, None)
        assert ada.metadata == {"imported": {"from": "django", "id": 1}}
        assert auth._accounts.by_id(ada.id).password_hash.startswith("$argon2id$")
        root = auth.find_user("root@example.com")
        assert (root.is_superuser, root.is_active) == (True, False)
        assert auth._accounts.by_id(root.id).password_hash is None
        assert auth.count_users() == 2

    def test_lines_do_as_well_as_an_array(self, auth):
        lines = b"".join(json.dumps(item).encode() + b"\n" for item in DJANGO)
        assert take(auth, "django", lines)[0].new == {"user": 2}
        assert take(auth, "django", DJANGO)[0].unchanged == {"user": 2}

    def test_a_user_without_an_address_is_refused_or_left_out(self, auth):
        with pytest.raises(TransferError, match=r"record 2: .* no usable .*; --skip-unusable"):
            take(auth, "django", [DJANGO[0], NO_MAIL])
        assert auth.count_users() == 0
        _, options = take(auth, "django", [DJANGO[0], NO_MAIL], skip_unusable=True)
        assert options.skipped == ["record 2"]
        assert auth.count_users() == 1

    def test_addresses_that_differ_in_case_alone_are_one(self, auth):
        twin = {**DJANGO[0], "pk": 9}
        with pytest.raises(TransferError, match=r"record 2: ada@example\.com: another user here"):
            take(auth, "django", [DJANGO[0], twin])

    def test_an_administrator_may_vouch_for_the_addresses(self, auth):
        take(auth, "django", DJANGO, confirmed=True)
        assert auth.find_user("ada@example.com").email_confirmed_at is not None

    def test_a_hash_of_no_known_kind_is_refused_or_dropped(self, auth):
        odd = {
            **DJANGO[0],
            "fields": {**DJANGO[0]["fields"], "password": "md5$salt$0cc175b9c0f1b6a8"},
        }
        with pytest.raises(TransferError, match=r"record 1: .*no known kind; --drop-unknown"):
            take(auth, "django", [odd])
        take(auth, "django", [odd], drop_unknown_hashes=True)
        user = auth.find_user("ada@example.com")
        assert auth._accounts.by_id(user.id).password_hash is None

    def test_an_array_longer_than_a_chunk_is_read_piece_by_piece(self, auth):
        many = [
            {**DJANGO[0], "pk": n, "fields": {**DJANGO[0]["fields"], "email": f"u{n}@example.com", "first_name": "é" * 50}}
            for n in range(600)
        ]  # fmt: skip
        text = json.dumps(many, indent=2, ensure_ascii=False).encode()
        assert take(auth, "django", text)[0].new == {"user": 600}


# Made by Flask-Security 5.9 from the same password, with SECURITY_PASSWORD_SALT = "salt of the tests".
FLASK_SECURITY = {
    "argon2": "$argon2id$v=19$m=8,t=1,p=1$hVCqNUaIcW4NAQCgNMYYow$f+jqUL3clwrM5rnLyLp14sHVkebvElZ2XyzgyfW2K7k",
    "bcrypt": "$2b$04$e99wSn9vNo2Py9zx1zxo0upFtlR.xlFYhWyqeacUrlz0WkpoEa.nC",
    "pbkdf2_sha512": "$pbkdf2-sha512$10$7B3j/P.fk9KakxICgHCO8Q$RAz3T.1LVZ6L8Q/f8U5XEe1Mp09wVzdTjBEG72SThxd.IA0IZKxOWPffIHmPZSojyN5wSZu9TRbraJHbJ0Rnvw",
}
FLASK = {
    "id": "1",
    "email": "Ada@example.com",
    "password_hash": KNOWN["werkzeug scrypt"],
    "active": "t",
    "confirmed_at": "2026-01-02 03:04:05",
    "username": "",
}


class TestFlask:
    def test_a_table_as_csv(self, auth):
        content = ",".join(FLASK) + "\r\n" + ",".join(FLASK.values()) + "\r\n"
        take(auth, "flask", content.encode())
        user = auth.sign_in_with_password("ada@example.com", FOREIGN_PASSWORD).user
        assert user.email_confirmed_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        assert (user.username, user.is_active, user.created_at) == (None, True, NOW)

    def test_a_table_as_json_with_other_names_of_columns(self, auth):
        row = {
            "user_id": 5,
            "email": "b@example.com",
            "pw_hash": KNOWN["werkzeug pbkdf2"],
            "active": False,
        }
        take(auth, "flask", [row])
        assert not auth.find_user("b@example.com").is_active

    @pytest.mark.parametrize("wrong", [b"email,password\na,b,c\n", b'email\n"a'])
    def test_what_is_no_csv_is_named_by_its_line(self, auth, wrong):
        with pytest.raises(TransferError, match="line 2"):
            take(auth, "flask", wrong)

    def test_what_is_no_text_is_refused(self, auth):
        with pytest.raises(TransferError, match="no UTF-8"):
            take(auth, "flask", b"email\n\xff\n")

    @pytest.mark.parametrize("hashed", FLASK_SECURITY.values(), ids=FLASK_SECURITY)
    def test_hashes_of_flask_security_are_verified_with_its_salt_and_renewed(self, auth, hashed):
        row = {"id": 1, "email": "ada@example.com", "password": hashed}
        take(auth, "flask", [row], flask_security_salt="salt of the tests")
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_password("ada@example.com", "wrong")
        auth.sign_in_with_password("ada@example.com", FOREIGN_PASSWORD)
        user = auth.find_user("ada@example.com")
        assert auth._accounts.by_id(user.id).password_hash.startswith("$argon2id$v=19$m=8,t=1")
        auth.sign_in_with_password("ada@example.com", FOREIGN_PASSWORD)

    def test_with_another_salt_they_match_nothing(self, auth):
        row = {"id": 1, "email": "ada@example.com", "password": FLASK_SECURITY["argon2"]}
        take(auth, "flask", [row], flask_security_salt="another")
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_password("ada@example.com", FOREIGN_PASSWORD)

    def test_a_row_without_an_id_is_refused(self, auth):
        with pytest.raises(TransferError, match="record 1: id is no UUID"):
            take(auth, "flask", [{"email": "a@example.com", "password": None}])

    def test_half_of_a_surrogate_pair_in_an_id_is_named_by_its_record(self, auth):
        with pytest.raises(TransferError, match="record 1: metadata has characters"):
            take(auth, "flask", [{"id": "\ud800", "email": "a@example.com"}])


class TestSupabase:
    def test_users_keep_their_ids_and_passwords(self, auth):
        take(auth, "supabase", [SUPABASE])
        user = auth.sign_in_with_password("ada@example.com", FOREIGN_PASSWORD).user
        assert user.id == SUPABASE["id"]
        assert (user.first_name, user.metadata["plan"]) == ("Ada", "free")
        assert user.role == "default"
        assert user.email_confirmed_at == datetime(2024, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)

    def test_a_csv_of_the_same_is_the_same(self, auth):
        import csv

        text = io.StringIO()
        writer = csv.DictWriter(text, SUPABASE)
        writer.writeheader()
        about = json.dumps(SUPABASE["raw_user_meta_data"])
        writer.writerow({**SUPABASE, "raw_user_meta_data": about, "is_anonymous": "f"})
        take(auth, "supabase", text.getvalue().encode())
        assert take(auth, "supabase", [SUPABASE])[0].unchanged == {"user": 1}

    @pytest.mark.parametrize(
        ("fields", "here"),
        [
            ({"deleted_at": "2024-01-02 03:04:05+00"}, None),
            ({"is_anonymous": True, "email": None}, None),
            ({"banned_until": "2999-01-01 00:00:00+00"}, False),
            ({"banned_until": "infinity"}, False),
            ({"banned_until": "2025-01-01 00:00:00+00"}, True),
        ],
    )
    def test_who_was_deleted_is_left_out_and_who_is_banned_is_disabled(self, auth, fields, here):
        take(auth, "supabase", [{**SUPABASE, **fields}])
        user = auth.find_user("ada@example.com")
        assert (user and user.is_active) is here


USER_ID, ORG_ID = str(uuid.UUID(int=11)), str(uuid.UUID(int=12))
DERP = {
    "users": [
        {"id": USER_ID, "email": "ada@example.com", "email_confirmed_at": "2026-01-02T03:04:05+00:00", "encrypted_password": KNOWN["argon2-cffi"], "first_name": "Ada", "last_name": None, "username": None, "image_url": None, "provider": "google", "provider_id": "7", "is_active": True, "is_superuser": False, "role": "default", "created_at": "2026-01-02T03:04:05+00:00", "updated_at": "2026-01-02T03:04:05+00:00", "last_sign_in_at": None},
        {"id": str(uuid.UUID(int=13)), "email": "eve@example.com", "email_confirmed_at": "2026-01-02T03:04:05+00:00", "encrypted_password": None, "first_name": None, "last_name": None, "username": None, "image_url": None, "provider": "magic_link", "provider_id": None, "is_active": True, "is_superuser": False, "role": "default", "created_at": "2026-01-02T03:04:05+00:00", "updated_at": "2026-01-02T03:04:05+00:00", "last_sign_in_at": None},
    ],
    "organizations": [{"id": ORG_ID, "name": "Engines", "slug": "engines", "metadata": None, "created_at": "2026-01-02T03:04:05+00:00", "updated_at": "2026-01-02T03:04:05+00:00"}],
    "org_members": [{"id": str(uuid.UUID(int=14)), "org_id": ORG_ID, "user_id": USER_ID, "role": "owner", "created_at": "2026-01-02T03:04:05+00:00", "updated_at": "2026-01-02T03:04:05+00:00"}],
}  # fmt: skip


def check_derp(auth):
    """What the tables of derp become, wherever they were read from."""
    ada = auth.sign_in_with_password("ada@example.com", FOREIGN_PASSWORD).user
    assert ada.id == USER_ID
    assert ada.email_confirmed_at is not None
    # An identity was linked there by the address alone; a magic link "confirmed" when asked for.
    assert auth.list_identities(USER_ID) == []
    assert auth.find_user("eve@example.com").email_confirmed_at is None
    assert auth.get_org_member(slug="engines", user_id=USER_ID).role == "owner"


class TestDerp:
    def test_a_json_dump(self, auth):
        report, _ = take(auth, "derp", DERP)
        assert report.new == {"user": 2, "org": 1, "member": 1}
        check_derp(auth)

    @pytest.mark.parametrize("wrong", [b"[]", b"{}", b"{", b'{"users": [1]}', b'{"users": 7}'])
    def test_what_is_none_is_refused(self, auth, wrong):
        with pytest.raises(TransferError):
            take(auth, "derp", wrong)

    def test_a_copy_on_sqlite_which_is_only_read(self, auth, tmp_path):
        path = tmp_path / "derp.db"
        with closing(sqlite3.connect(path)) as database:
            _make_tables(database.execute, "?")
            database.commit()
        before = path.read_bytes()
        load(auth._db, read_derp_database(str(path), Options(now=NOW)))
        check_derp(auth)
        assert path.read_bytes() == before
        assert [file.name for file in tmp_path.glob("derp.db*")] == ["derp.db"]

    def test_its_database_on_postgresql(self, auth, new_postgres_url):
        import psycopg

        with psycopg.connect(new_postgres_url) as connection:
            _make_tables(connection.execute, "%s")
        load(auth._db, read_derp_database(new_postgres_url, Options(now=NOW)))
        check_derp(auth)

    def test_a_database_without_its_tables_or_none_at_all_is_a_typed_error(self, auth, tmp_path):
        sqlite3.connect(tmp_path / "empty.db").close()
        with pytest.raises(AuthBackendError):
            load(auth._db, read_derp_database(str(tmp_path / "empty.db"), Options(now=NOW)))
        with pytest.raises(TransferError, match="there is no database"):
            load(auth._db, read_derp_database(str(tmp_path / "none.db"), Options(now=NOW)))
        assert not (tmp_path / "none.db").exists()


def _make_tables(execute, mark):
    """Make derp's tables, with the types that it has on PostgreSQL."""
    types = {"id": "uuid", "org_id": "uuid", "user_id": "uuid", "metadata": "jsonb"}
    types |= dict.fromkeys(("is_active", "is_superuser"), "boolean")
    moments = ("created_at", "updated_at", "email_confirmed_at", "last_sign_in_at")
    types |= dict.fromkeys(moments, "timestamptz")
    for name, rows in DERP.items():
        columns = ", ".join(f"{column} {types.get(column, 'text')}" for column in rows[0])
        execute(f"CREATE TABLE {name} ({columns})")
        for row in rows:
            marks = ", ".join([mark] * len(row))
            execute(f"INSERT INTO {name} VALUES ({marks})", tuple(row.values()))


@pytest.mark.parametrize("source", ["django", "flask", "supabase"])
@pytest.mark.parametrize(
    "wrong",
    [b"[1]", b"[{}", b'[{"a": 1} {"b": 2}]', b"[{}] {}", b"[\xff]", b"{", b"[,]", b'[{"a": NaN}]'],
)  # fmt: skip
def test_what_is_no_json_is_a_typed_error_on_one_line(auth, source, wrong):
    with pytest.raises(TransferError) as refused:
        take(auth, source, wrong)
    assert "\n" not in str(refused.value)
    assert auth.count_users() == 0
