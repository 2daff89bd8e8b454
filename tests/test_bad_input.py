"""Bad input and what it gets: one row each, on both databases, and nothing half done."""

from __future__ import annotations

import uuid

import pytest

from derp_auth_lite._migrations import migrate
from derp_auth_lite.exceptions import (
    AuthBackendError,
    AuthError,
    ConfigError,
    InvalidCredentialsError,
    InvalidCursorError,
    InvalidEmailError,
    InvalidProfileError,
    InvalidTokenError,
    PasswordValidationError,
    SchemaTooNewError,
    UserNotFoundError,
)
from derp_auth_lite.factory import open_auth

from .support import PASSWORD, Request, native_client

EMAIL = "ada@example.com"
NOBODY = "00000000-0000-4000-8000-000000000000"
LONG = "x" * 10_000


@pytest.fixture
def ada(auth):
    return auth.sign_up(email=EMAIL, password=PASSWORD)


def state(auth):
    return auth.list_users(), auth.list_sessions()


ADDRESSES = [
    None, 7, b"ada@example.com", "", " ", "ada", "@example.com", "ada@", "ada@b@c.org",
    "v@example.com, a@evil.org", "v@example.com\r\nBcc: a@evil.org", "v@example.com\n",
    "Ada <ada@example.com>", "ada\uff20example.com", "\u212aate@example.com",
    "ad\u0430@example.com",
    "ada@example.com\x00", "\ud800@example.com", f"{LONG}@example.com", f"a@{LONG}.com",
    '"a b"@example.com', " ada@example.com", "a..b@example.com", "ada@-example.com", "ada@[::1]",
]  # fmt: skip

PASSWORDS = [
    "", " ", " " * 12, "short", "1234567", "x" * 129, LONG, "with a \x00 inside", "\ud800" * 10,
    "password", "password123", EMAIL,
]  # fmt: skip

IDS = [NOBODY, uuid.UUID(NOBODY), "", "no uuid", "../x", "1", "\x00", LONG, "'; DROP TABLE x;--",
       "\ud800", None, 7, b"x"]  # fmt: skip


@pytest.mark.parametrize("email", ADDRESSES, ids=lambda value: repr(value)[:30])
def test_what_is_no_address_is_refused_everywhere_and_changes_nothing(auth, ada, email):
    before = state(auth)
    calls = [
        (InvalidEmailError, lambda: auth.sign_up(email=email, password=PASSWORD)),
        (InvalidEmailError, lambda: auth.create_user(email=email)),
        (InvalidCredentialsError, lambda: auth.sign_in_with_password(email, PASSWORD)),
    ]
    if email is not None:
        calls.append(
            (InvalidEmailError, lambda: auth.update_user(user_id=ada.user.id, email=email))
        )
    for error, call in calls:
        with pytest.raises(error) as caught:
            call()
        assert LONG not in str(caught.value)
    assert state(auth) == before


@pytest.mark.parametrize("password", PASSWORDS, ids=lambda value: repr(value)[:20])
def test_a_password_that_will_not_do_is_refused_with_a_reason(auth, ada, password):
    before = state(auth)
    for call in (
        lambda: auth.sign_up(email="new@example.com", password=password),
        lambda: auth.create_user(email="new@example.com", password=password),
        lambda: auth.change_password(
            user_id=ada.user.id, current_password=PASSWORD, new_password=password
        ),
    ):
        # The address of the other account is no reason against a new one's password.
        if password == EMAIL and call.__code__.co_names[:1] != ("change_password",):
            continue
        with pytest.raises(PasswordValidationError) as caught:
            call()
        assert len(str(caught.value)) > 20
    with pytest.raises(InvalidCredentialsError):
        auth.sign_in_with_password(EMAIL, password)
    assert state(auth) == before


@pytest.mark.parametrize("user_id", IDS, ids=lambda value: repr(value)[:20])
def test_an_id_that_nobody_has_is_not_found_whatever_it_is(auth, ada, user_id):
    before = state(auth)
    for call in (
        lambda: auth.get_user(user_id),
        lambda: auth.update_user(user_id=user_id, first_name="x"),
        lambda: auth.change_password(
            user_id=user_id, current_password=PASSWORD, new_password="another long one"
        ),
    ):
        with pytest.raises(UserNotFoundError):
            call()
    assert auth.delete_user(user_id) is False
    auth.sign_out(user_id)
    auth.sign_out_all(user_id)
    if user_id is not None:
        assert auth.list_sessions(user_id=user_id) == []
    assert auth.list_sessions_by_cursor(user_id=user_id).data == []
    assert state(auth) == before


TOKENS = {
    "empty": lambda pair: "",
    "none": lambda pair: None,
    "bytes": lambda pair: pair.refresh_token.encode(),
    "access token": lambda pair: pair.access_token,
    "cut": lambda pair: pair.refresh_token[:-1],
    "padded": lambda pair: pair.refresh_token + "==",
    "space": lambda pair: pair.refresh_token + " ",
    "first flipped": lambda pair: (
        ("A" if pair.refresh_token[0] != "A" else "B") + pair.refresh_token[1:]
    ),
    "last flipped": lambda pair: (
        pair.refresh_token[:-1] + ("A" if pair.refresh_token[-1] != "A" else "B")
    ),
    "counter": lambda pair: pair.refresh_token[:30] + "BBBB" + pair.refresh_token[34:],
    "stray": lambda pair: pair.refresh_token[:9] + "!" + pair.refresh_token[9:],
    "long": lambda pair: LONG,
    "surrogate": lambda pair: "\ud800" * len(pair.refresh_token),
    "digits": lambda pair: "٣" * len(pair.refresh_token),
}


@pytest.mark.parametrize("change", TOKENS.values(), ids=TOKENS.keys())
def test_a_refresh_token_that_is_not_ours_is_refused_and_the_session_goes_on(auth, ada, change):
    with pytest.raises(InvalidTokenError):
        auth.refresh_token(change(ada.tokens))
    assert auth.authenticate(Request(ada.tokens.access_token)) is not None
    assert auth.refresh_token(ada.tokens.refresh_token)


def test_a_refresh_token_under_another_secret_is_refused(auth, make_auth, ada):
    other = make_auth(jwt={"secret": "z" * 40})
    with pytest.raises(InvalidTokenError):
        other.refresh_token(ada.tokens.refresh_token)
    assert auth.authenticate(Request(ada.tokens.access_token)) is not None


class Odd:
    """A request whose headers are whatever is given."""

    def __init__(self, headers):
        self.headers = headers


@pytest.mark.parametrize(
    "request_",
    [
        None, object(), Odd(None), Odd({}), Odd([]), Odd("Authorization"), Odd(7),
        Odd({"Authorization": None}), Odd({"Authorization": b"Bearer x"}), Odd({1: 2}),
        Odd({"Authorization": ""}), Odd({"Authorization": "Bearer"}),
        Odd({"Authorization": "Bearer "}), Odd({"Authorization": "Basic YTpi"}),
        Odd({"Authorization": "Bearer \x00"}), Odd({"Authorization": "Bearer a b c"}),
        Odd({"Authorization": "Bearer " + LONG}), Odd({"Authorization": "\ud800"}),
    ],
    ids=lambda value: repr(getattr(value, "headers", type(value)))[:30],
)  # fmt: skip
def test_an_odd_request_is_nobodys(auth, request_):
    assert auth.authenticate(request_) is None


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_names_of_headers_and_the_word_bearer_compare_without_regard_to_case(
    auth, ada, name, scheme
):
    request = Odd({"Host": "x", name: f"{scheme} {ada.tokens.access_token}"})
    assert auth.authenticate(request).user_id == ada.user.id


@pytest.mark.parametrize("value", [-1, -(10**30)])
def test_a_negative_limit_or_offset_is_a_mistake_of_the_program(auth, ada, value):
    for call in (
        lambda: auth.list_users(limit=value),
        lambda: auth.list_users(offset=value),
        lambda: auth.list_sessions(limit=value),
        lambda: auth.list_sessions(user_id=ada.user.id, offset=value),
        lambda: auth.list_users_by_cursor(limit=value),
        lambda: auth.list_sessions_by_cursor(user_id=ada.user.id, limit=value),
    ):
        with pytest.raises(ValueError, match="negative"):
            call()


@pytest.mark.parametrize("value", [True, "10", 1.5])
def test_a_limit_that_is_no_number_is_a_mistake_of_the_program(auth, value):
    for call in (
        lambda: auth.list_users(limit=value),
        lambda: auth.list_users(offset=value),
        lambda: auth.list_users_by_cursor(limit=value),
    ):
        with pytest.raises(TypeError, match="whole number"):
            call()


def test_a_huge_limit_or_offset_is_no_error(auth, ada):
    huge = 10**30
    assert auth.list_users(limit=huge) == [ada.user]
    assert auth.list_users(offset=huge) == []
    assert auth.list_sessions(limit=huge, offset=huge) == []
    assert auth.list_users_by_cursor(limit=huge).data == [ada.user]
    with pytest.raises(ValueError, match="at least 1"):
        auth.list_users_by_cursor(limit=0)


def test_a_foreign_or_changed_cursor_is_a_typed_error(auth, make_auth, ada):
    for _ in range(3):
        auth.sign_in_with_password(EMAIL, PASSWORD)
    for number in range(3):
        auth.create_user(email=f"u{number}@example.com")
    users = auth.list_users_by_cursor(limit=1).next_cursor
    sessions = auth.list_sessions_by_cursor(user_id=ada.user.id, limit=1).next_cursor
    assert auth.list_users_by_cursor(limit=1, after=users).data
    other = make_auth(jwt={"secret": "z" * 40})
    for cursor in ("", "x", LONG, sessions, users[:-1], users + "=", users[1:], "\ud800", 7,
                   users[:-1] + ("A" if users[-1] != "A" else "B"),
                   other.list_users_by_cursor(limit=1).next_cursor):  # fmt: skip
        with pytest.raises(InvalidCursorError):
            auth.list_users_by_cursor(limit=1, after=cursor)
    with pytest.raises(InvalidCursorError):
        auth.list_sessions_by_cursor(user_id=NOBODY, limit=1, after=sessions)


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (TypeError, {"nickname": "x"}),
        (TypeError, {"first_name": 7}),
        (TypeError, {"metadata": "x"}),
        (TypeError, {"metadata": {"x": object()}}),
        (TypeError, {"metadata": {"x": float("nan")}}),
        (InvalidProfileError, {"first_name": "x" * 256}),
        (InvalidProfileError, {"last_name": "x\x00"}),
        (InvalidProfileError, {"username": "\ud800"}),
        (InvalidProfileError, {"image_url": "x" * 2049}),
        (InvalidProfileError, {"metadata": {"x": "y" * 70_000}}),
        (InvalidProfileError, {"metadata": {"x\x00": 1}}),
        (InvalidProfileError, {"metadata": {"x": ["\ud800"]}}),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_profile_that_cannot_be_kept_is_refused_and_changes_nothing(auth, ada, error, fields):
    before = state(auth)
    for call in (
        lambda: auth.sign_up(email="new@example.com", password=PASSWORD, **fields),
        lambda: auth.create_user(email="new@example.com", **fields),
        lambda: auth.update_user(user_id=ada.user.id, **fields),
    ):
        with pytest.raises(error):
            call()
    assert state(auth) == before


@pytest.mark.parametrize("role", ["", "  ", "x" * 51, "a\x00"])
def test_a_role_that_cannot_be_kept_is_refused(auth, ada, role):
    with pytest.raises(InvalidProfileError):
        auth.update_user(user_id=ada.user.id, role=role)
    with pytest.raises(TypeError):
        auth.update_user(user_id=ada.user.id, role=None)
    with pytest.raises(TypeError):
        auth.update_user(user_id=ada.user.id, is_active=1)


def test_odd_agents_and_addresses_are_cleaned_not_refused(auth):
    auth.sign_up(
        email=EMAIL, password=PASSWORD, user_agent="x\x00\ud800y" + LONG, ip_address="no address"
    )
    (session,) = auth.list_sessions()
    assert len(session.metadata["user_agent"]) == 512
    assert session.metadata["user_agent"].startswith("x y")
    assert session.metadata["ip_address"] is None


def test_a_database_from_a_newer_version_is_refused_and_left_alone(auth, make_auth):
    engine = auth._db
    with engine.connection():
        engine.database.execute_sql(
            "INSERT INTO auth_migrations (name, applied) VALUES"
            " ('9999_from_the_future', '2030-01-01 00:00:00')"
        )
    try:
        with pytest.raises(SchemaTooNewError, match="upgrade"):
            make_auth()
    finally:
        with engine.connection():
            engine.database.execute_sql(
                "DELETE FROM auth_migrations WHERE name = '9999_from_the_future'"
            )
    migrate(engine)


@pytest.fixture(params=["sqlite", "postgresql"])
def doomed(request, tmp_path, clock):
    """A client, and a way to run a statement behind its back in a database of its own."""
    if request.param == "sqlite":
        place = str(tmp_path / "doomed.db")
    else:
        place = request.getfixturevalue("new_postgres_url")
    with native_client(place, clock) as client:

        def behind_its_back(statement):
            with client._db.connection():
                client._db.database.execute_sql(statement)

        yield client, behind_its_back


def test_a_database_that_is_gone_is_a_backend_error_and_not_a_signed_out_user(doomed):
    client, run = doomed
    tokens = client.sign_up(email=EMAIL, password=PASSWORD).tokens
    run("DROP TABLE auth_sessions")
    with pytest.raises(AuthBackendError):
        client.authenticate(Request(tokens.access_token))
    with pytest.raises(AuthBackendError):
        client.refresh_token(tokens.refresh_token)


def test_a_folder_that_is_not_there_is_named_in_a_message_to_act_on(tmp_path):
    with pytest.raises(AuthError) as caught:
        open_auth(tmp_path / "none" / "app.db")
    assert isinstance(caught.value, AuthBackendError)
    assert f"no folder {tmp_path / 'none'}" in str(caught.value)


def test_a_short_secret_is_refused_with_the_way_to_a_good_one():
    with pytest.raises(ConfigError, match="secrets"):
        open_auth(":memory:", secret="too short")
