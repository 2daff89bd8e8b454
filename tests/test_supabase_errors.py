"""Every error row of Supabase Auth, in each of its shapes, and what it becomes here."""

from __future__ import annotations

import logging

import pytest

from derp_auth_lite._supabase import errors
from derp_auth_lite.exceptions import (
    AuthBackendError,
    EmailAlreadyExistsError,
    EmailNotConfirmedError,
    InvalidCredentialsError,
    InvalidTokenError,
    PasswordValidationError,
    RateLimitedError,
    SignupDisabledError,
    UserDisabledError,
    UserNotFoundError,
)
from derp_auth_lite.testing import FakeSupabase

from .supabase_support import ADA, PAGE, connected, join
from .support import PASSWORD, MovableClock

SOMEBODY = "0b9c3e1c-3f2e-4a53-9f0e-6d1b5a3c0f11"
TOKEN = "a token of a link"


@pytest.fixture(scope="module")
def project():
    with FakeSupabase(clock=MovableClock()) as project:
        yield project


@pytest.fixture(scope="module")
def client(project):
    with connected(project.config, project.clock) as client:
        yield client


@pytest.fixture(params=["with version header", "without"])
def auth(request, project, client):
    """A service that knows the version header, then one that does not."""
    project.versioned = request.param == "with version header"
    yield client
    project.versioned = True


def finish(auth, kind):
    """Begin a sign-in and come back with a code that is refused."""
    state = f"state of {kind}"
    auth.get_oauth_authorization_url("google", state)
    return auth.sign_in_with_oauth("google", "code", state=state)


DEEDS = {
    "sign_up": join,
    "sign_in": lambda auth: auth.sign_in_with_password(ADA, PASSWORD),
    "magic_link": lambda auth: auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE),
    "verify": lambda auth: auth.verify_magic_link(TOKEN),
    "confirm": lambda auth: auth.confirm_email(TOKEN),
    "exchange": lambda auth: finish(auth, "exchange"),
    "refresh": lambda auth: auth.refresh_token("refresh"),
    "recover": lambda auth: auth.request_password_recovery(email=ADA, recovery_url=PAGE),
    "reset": lambda auth: auth.reset_password(TOKEN, PASSWORD),
    "resend": lambda auth: auth.resend_confirmation_email(email=ADA, confirmation_url=PAGE),
    "get": lambda auth: auth.get_user(SOMEBODY),
    "update": lambda auth: auth.update_user(user_id=SOMEBODY, first_name="Ada"),
    "create": lambda auth: auth.create_user(email=ADA, password=PASSWORD),
    "list": lambda auth: auth.list_users(),
    "count": lambda auth: auth.count_users(),
}
SWALLOWED = None

ROWS = [
    ("sign_up", 422, "user_already_exists", EmailAlreadyExistsError),
    ("sign_up", 422, "email_exists", EmailAlreadyExistsError),
    ("sign_up", 422, "weak_password", PasswordValidationError),
    ("sign_up", 422, "signup_disabled", SignupDisabledError),
    ("sign_up", 400, "email_provider_disabled", SignupDisabledError),
    ("sign_up", 400, "email_address_invalid", AuthBackendError),
    ("sign_up", 400, "email_address_not_authorized", AuthBackendError),
    ("sign_up", 400, "captcha_failed", AuthBackendError),
    ("sign_up", 400, "validation_failed", AuthBackendError),
    ("sign_up", 429, "over_request_rate_limit", RateLimitedError),
    ("sign_up", 429, "over_email_send_rate_limit", RateLimitedError),
    ("sign_in", 400, "invalid_credentials", InvalidCredentialsError),
    ("sign_in", 400, "email_not_confirmed", EmailNotConfirmedError),
    ("sign_in", 400, "user_banned", InvalidCredentialsError),
    ("sign_in", 422, "email_provider_disabled", AuthBackendError),
    ("sign_in", 429, "over_request_rate_limit", RateLimitedError),
    ("magic_link", 422, "otp_disabled", SWALLOWED),
    ("magic_link", 422, "signup_disabled", SWALLOWED),
    ("magic_link", 429, "over_email_send_rate_limit", SWALLOWED),
    ("magic_link", 429, "over_request_rate_limit", RateLimitedError),
    ("verify", 403, "otp_expired", InvalidTokenError),
    ("verify", 400, "validation_failed", InvalidTokenError),
    ("verify", 403, "user_banned", InvalidTokenError),
    ("confirm", 403, "otp_expired", InvalidTokenError),
    ("exchange", 400, "validation_failed", InvalidCredentialsError),
    ("exchange", 404, "flow_state_not_found", InvalidCredentialsError),
    ("exchange", 422, "flow_state_expired", InvalidCredentialsError),
    ("exchange", 400, "bad_code_verifier", InvalidCredentialsError),
    ("exchange", 400, "user_banned", UserDisabledError),
    ("exchange", 422, "signup_disabled", SignupDisabledError),
    ("refresh", 400, "refresh_token_not_found", InvalidTokenError),
    ("refresh", 400, "refresh_token_already_used", InvalidTokenError),
    ("refresh", 400, "session_not_found", InvalidTokenError),
    ("refresh", 400, "session_expired", InvalidTokenError),
    ("refresh", 400, "user_banned", InvalidTokenError),
    ("refresh", 400, "validation_failed", InvalidTokenError),
    ("recover", 429, "over_email_send_rate_limit", SWALLOWED),
    ("recover", 429, "over_request_rate_limit", SWALLOWED),
    ("reset", 403, "otp_expired", InvalidTokenError),
    ("resend", 429, "over_email_send_rate_limit", SWALLOWED),
    ("resend", 429, "over_request_rate_limit", RateLimitedError),
    ("get", 404, "user_not_found", UserNotFoundError),
    ("get", 403, "not_admin", AuthBackendError),
    ("get", 403, "bad_jwt", AuthBackendError),
    ("update", 404, "user_not_found", UserNotFoundError),
    ("update", 422, "email_exists", EmailAlreadyExistsError),
    ("update", 400, "validation_failed", AuthBackendError),
    ("create", 422, "email_exists", EmailAlreadyExistsError),
    ("create", 422, "weak_password", PasswordValidationError),
    ("create", 403, "bad_jwt", AuthBackendError),
    ("list", 400, "validation_failed", AuthBackendError),
    ("list", 403, "not_admin", AuthBackendError),
    ("count", 403, "bad_jwt", AuthBackendError),
    # A mail that cannot be sent: just known addresses get one, and while the caller waits.
    *(
        (deed, 400, code, SWALLOWED)
        for deed in ("recover", "resend", "magic_link")
        for code in (
            "email_address_not_authorized",
            "hook_timeout",
            "hook_timeout_after_retry",
            "unexpected_failure",
        )
    ),
]


@pytest.mark.parametrize(("deed", "status", "code", "error"), ROWS)
@pytest.mark.parametrize("moved", [False, True], ids=["as listed", "status moved"])
def test_the_code_decides_and_the_status_does_not(auth, project, deed, status, code, error, moved):
    if moved:  # versions of the service swap them
        status = {400: 422, 422: 400, 404: 400, 403: 401, 429: 429}[status]
    project.refuse(status, code)
    if error is SWALLOWED:
        assert DEEDS[deed](auth) is None
        return
    with pytest.raises(error) as caught:
        DEEDS[deed](auth)
    assert type(caught.value) is error


@pytest.mark.parametrize("deed", [name for name in DEEDS if name not in {"magic_link", "recover"}])
def test_a_code_that_nobody_knows_is_a_failure_of_the_backend(auth, project, deed):
    project.refuse(400, "brand_new_code")
    with pytest.raises(AuthBackendError, match="brand"):
        DEEDS[deed](auth)


@pytest.mark.parametrize("deed", ["sign_in", "refresh", "get", "create", "verify"])
def test_a_wrong_key_of_the_gateway_is_no_wrong_password(auth, project, deed):
    project.disturb(401, {"message": "Invalid API key", "hint": "Double check"})
    with pytest.raises(AuthBackendError, match="anon_key and service_role_key"):
        DEEDS[deed](auth)


@pytest.mark.parametrize("deed", ["reset"])
@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (422, "weak_password", PasswordValidationError),
        (422, "same_password", PasswordValidationError),
        (403, "bad_jwt", InvalidTokenError),
        (403, "session_not_found", InvalidTokenError),
        (403, "user_not_found", InvalidTokenError),
        (422, "user_sso_managed", AuthBackendError),
        (400, "validation_failed", PasswordValidationError),
    ],
)
def test_the_second_step_of_a_reset_has_errors_of_its_own(auth, project, deed, status, code, error):
    email = f"{code}-{project.versioned}@example.com".lower()
    join(auth, email)
    auth.request_password_recovery(email=email, recovery_url=PAGE)
    refused = {"error_code": code, "msg": "Password cannot be longer than 72 characters"}
    project.disturb(status, refused, path="/user")
    with pytest.raises(error):
        auth.reset_password(project.last_mail().token, "another good password")
    assert project.last_call().path.endswith("/logout"), "the session of the reset is ended"


def test_a_weak_password_is_told_why(auth, project):
    weak = {"reasons": ["length", "pwned", "something new"]}
    project.refuse(422, "weak_password", "weak", weak_password=weak)
    with pytest.raises(PasswordValidationError, match=r"too short or too long, .*data breach$"):
        join(auth)


def test_a_password_that_the_service_cannot_take_is_named(auth, project):
    project.refuse(400, "validation_failed", "Password cannot be longer than 72 characters")
    with pytest.raises(PasswordValidationError):
        join(auth)


@pytest.mark.parametrize(
    ("message", "headers", "seconds"),
    [
        ("For security purposes, you can only request this after 56 seconds.", {}, 56.0),
        ("slow down", {"Retry-After": "7"}, 7.0),
        ("only request this after 56 seconds", {"Retry-After": "7"}, 7.0),
        ("slow down", {}, 60.0),
        ("after 99999999999999 seconds", {}, 60.0),
    ],
)
def test_how_long_to_wait_is_told(auth, project, message, headers, seconds):
    body = {"error_code": "over_request_rate_limit", "msg": message}
    project.disturb(429, body, headers=headers)
    with pytest.raises(RateLimitedError) as caught:
        auth.sign_in_with_password(ADA, PASSWORD)
    assert caught.value.retry_after == seconds


def test_a_limit_without_a_code_is_a_limit(auth, project):
    project.disturb(429, "<h1>Too many requests</h1>")
    with pytest.raises(RateLimitedError):
        auth.sign_in_with_password(ADA, PASSWORD)


def test_an_error_of_oauth_is_looked_up_by_its_name(auth, project):
    project.disturb(400, {"error": "invalid_grant", "error_description": "no"})
    with pytest.raises(AuthBackendError, match="invalid_grant"):
        auth.refresh_token("refresh")


def test_the_header_goes_before_the_body(auth, project):
    body = {"code": "otp_expired", "error_code": "otp_expired"}
    project.disturb(400, body, headers={"X-Sb-Error-Code": "user_not_found"})
    with pytest.raises(UserNotFoundError):
        auth.get_user(SOMEBODY)


def test_an_id_of_another_form_is_a_user_that_is_not_found(auth, project):
    project.refuse(404, "validation_failed", "user_id must be an UUID")
    with pytest.raises(UserNotFoundError):
        auth.get_user(SOMEBODY)


def test_a_taken_address_is_told_by_the_older_shape_alone(auth, project):
    """The service lets PostgreSQL refuse it; so that one call leaves the version header out."""
    first, second = (
        join(auth, f"first-{project.versioned}@x.test").user,
        f"{project.versioned}@x.test",
    )
    join(auth, second)
    with pytest.raises(EmailAlreadyExistsError) as caught:
        auth.update_user(user_id=first.id, email=second)
    assert caught.value.email == second.lower()
    assert "x-supabase-api-version" not in project.last_call().headers


@pytest.mark.parametrize("code", ["a\r\nb", "\x1b[31m", "x" * 5000, "\ud800"])
def test_what_a_service_sends_as_its_code_breaks_no_log_line(auth, project, caplog, code):
    project.disturb(400, {"code": code})
    with caplog.at_level(logging.DEBUG), pytest.raises(AuthBackendError) as caught:
        auth.get_user(SOMEBODY)
    said = str(caught.value) + caplog.text.replace("\n", "")
    assert all(character.isprintable() for character in said)
    assert len(str(caught.value)) < 120


def test_every_code_of_the_tables_is_tried():
    tried = {code for _, _, code, _ in ROWS}
    tried |= {"same_password", "23505", "conflict", "no_authorization"}
    tables = [getattr(errors, name) for name in errors.__all__ if name.isupper()]
    assert {code for table in tables for code in table} <= tried
