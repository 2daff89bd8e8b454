"""Every error row of the service, and what it becomes here."""

from __future__ import annotations

import pytest

from derp_auth_lite._workos import errors
from derp_auth_lite.exceptions import (
    AuthBackendError,
    AuthStepRequiredError,
    EmailAlreadyExistsError,
    EmailNotConfirmedError,
    InvalidCredentialsError,
    InvalidEmailError,
    InvalidProfileError,
    InvalidTokenError,
    MemberAlreadyExistsError,
    OrgMemberNotFoundError,
    OrgNotFoundError,
    OrgSlugConflictError,
    PasswordValidationError,
    RateLimitedError,
    SignupDisabledError,
    UserNotFoundError,
)
from derp_auth_lite.testing.workos import FakeWorkOS

from .support import PASSWORD, MovableClock
from .workos_support import ADA, PAGE, connected


@pytest.fixture(scope="module")
def environment():
    with FakeWorkOS(clock=MovableClock()) as service:
        service.environment.add_user({"email": "kept@example.com"})
        yield service


@pytest.fixture
def service(environment):
    """Who is there stays; what a test left to be refused does not."""
    environment.forget_refusals()
    return environment


@pytest.fixture
def auth(service):
    with connected(service.config, service.clock) as client:
        yield client


def password(auth):
    auth.sign_in_with_password(ADA, PASSWORD)


def code(auth):
    auth.sign_in_with_oauth("google", "a code")


def magic(auth):
    auth.verify_magic_link(auth.magic_link_token(email=ADA, code="123456"))


def refresh(auth):
    auth.refresh_token("a refresh token")


def switch(auth):
    auth.set_active_org(session_id="session_1", org_id="org_1", refresh_token="a refresh token")


def step(auth):
    auth.complete_step("mfa_challenge", "pending", code="1", challenge_id="c")


def create(auth):
    auth.create_user(email=ADA, password=PASSWORD)


def sign_up(auth):
    auth.sign_up(email=ADA, password=PASSWORD)


def set_password(auth):
    auth.set_password(user_id="user_1", password=PASSWORD)


def ask_magic(auth):
    auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)


def ask_reset(auth):
    auth.request_password_recovery(email=ADA, recovery_url=PAGE)


def ask_confirmation(auth):
    auth.resend_confirmation_email(email="kept@example.com", confirmation_url=PAGE)


def reset(auth):
    auth.reset_password("a token", PASSWORD)


def confirm(auth):
    auth.confirm_email(auth.confirmation_token(user_id="user_1", code="123456"))


def sessions(auth):
    assert auth.list_sessions(user_id="user_1") == []


def sign_out(auth):
    auth.sign_out("session_1")


def delete_user(auth):
    assert auth.delete_user("user_1") is False


def create_org(auth):
    user = auth.find_user("kept@example.com")
    auth.create_org(name="Engines", slug="engines", creator_id=user.id)


def get_org(auth):
    auth.get_org(slug="engines")


def update_org(auth):
    auth.update_org(org_id="org_1", slug="engines", metadata={"a": 1})


def delete_org(auth):
    assert auth.delete_org(org_id="org_1") is False


def add_member(auth):
    user = auth.find_user("kept@example.com")
    auth.add_org_member(org_id="org_1", user_id=user.id)


def list_members(auth):
    auth.list_org_members(org_id="org_1")


def get_user(auth):
    auth.get_user("user_1")


SIGN_INS = {
    password: "/authenticate",
    code: "/authenticate",
    magic: "/authenticate",
    refresh: "/authenticate",
    switch: "/authenticate",
    step: "/authenticate",
}
PATHS = {
    **SIGN_INS,
    create: "/users",
    sign_up: "/users",
    set_password: "/users/user_1",
    ask_magic: "/magic_auth",
    ask_reset: "/password_reset",
    ask_confirmation: "/send",
    reset: "/confirm",
    confirm: "/confirm",
    sessions: "/sessions",
    sign_out: "/revoke",
    delete_user: "/users/user_1",
    create_org: "/organizations",
    get_org: "/engines",
    update_org: "/org_1",
    delete_org: "/org_1",
    add_member: "/organization_memberships",
    list_members: "/organization_memberships",
    get_user: "/users/user_1",
}
"""Operation -> the path of the call that is refused."""

TOO_WEAK = {"errors": [{"code": "password_too_weak", "message": "x"}]}
TAKEN = {"errors": [{"code": "email_not_available", "message": "x"}]}
OLD = {"errors": [{"code": "password_reset_token_expired", "message": "x"}]}
NOTHING = None
OAUTH = "oauth"
INVALID_CODES = (
    "invalid_one_time_code",
    "one_time_code_expired",
    "one_time_code_previously_used",
    "one_time_code_too_many_attempts",
    "invalid_pending_authentication_token",
    "user_mismatch",
)
STEPS = (
    "mfa_challenge",
    "mfa_enrollment",
    "organization_selection_required",
    "authentication_method_not_allowed",
    "email_password_auth_disabled",
    "passkey_progressive_enrollment",
    "radar_challenge",
)

# Operation, status, code, what else is in the body, and what it becomes: None is silence.
ROWS = [
    (password, 400, "invalid_credentials", {}, InvalidCredentialsError),
    *((magic, 400, code, {}, InvalidTokenError) for code in INVALID_CODES),
    *((step, 400, code, {}, InvalidTokenError) for code in INVALID_CODES),
    (code, 400, "invalid_grant", OAUTH, InvalidCredentialsError),
    (magic, 400, "invalid_grant", OAUTH, InvalidTokenError),
    (refresh, 400, "invalid_grant", OAUTH, InvalidTokenError),
    *((call, 400, "invalid_client", OAUTH, AuthBackendError) for call in SIGN_INS),
    *((call, 400, "unauthorized_client", OAUTH, AuthBackendError) for call in SIGN_INS),
    *((call, 400, "invalid_request", OAUTH, AuthBackendError) for call in SIGN_INS),
    *((call, 400, "token_too_big", OAUTH, AuthBackendError) for call in SIGN_INS),
    (switch, 400, "organization_membership_not_found", OAUTH, OrgMemberNotFoundError),
    (switch, 400, "organization_not_found", OAUTH, OrgNotFoundError),
    (switch, 404, NOTHING, {}, OrgNotFoundError),
    *(
        (call, 400, code, OAUTH, AuthStepRequiredError)
        for call in SIGN_INS
        for code in ("sso_required", "mfa_enrollment")
    ),
    (password, 400, "organization_authentication_methods_required", {}, AuthStepRequiredError),
    *((call, 400, "sign_up_not_allowed", {}, SignupDisabledError) for call in (password, code)),
    (password, 403, "email_verification_required", {}, EmailNotConfirmedError),
    *((password, 403, name, {}, AuthStepRequiredError) for name in STEPS),
    (code, 403, "email_verification_required", {}, AuthStepRequiredError),
    (password, 403, NOTHING, {}, AuthBackendError),
    (create, 400, "password_strength_error", TOO_WEAK, PasswordValidationError),
    (create, 400, "user_creation_error", TAKEN, EmailAlreadyExistsError),
    (create, 400, "user_creation_error", TOO_WEAK, PasswordValidationError),
    (create, 400, "user_creation_error", {}, AuthBackendError),
    (create, 400, "invalid_email", {}, InvalidEmailError),
    (create, 400, "invalid_metadata", {}, InvalidProfileError),
    (sign_up, 400, "sign_up_not_allowed", {}, SignupDisabledError),
    (set_password, 404, NOTHING, {}, UserNotFoundError),
    (set_password, 400, "password_strength_error", TOO_WEAK, PasswordValidationError),
    (set_password, 400, "email_change_not_allowed", {}, InvalidProfileError),
    (set_password, 400, "invalid_email", {}, InvalidEmailError),
    (set_password, 400, "invalid_metadata", {}, InvalidProfileError),
    (set_password, 400, "external_id_already_used", {}, AuthBackendError),
    (set_password, 400, "user_update_error", TAKEN, EmailAlreadyExistsError),
    (set_password, 400, "email_not_available", {}, EmailAlreadyExistsError),
    (get_user, 404, NOTHING, {}, UserNotFoundError),
    (delete_user, 404, NOTHING, {}, None),
    (delete_user, 409, "user_deletion_not_allowed", {}, AuthBackendError),
    (ask_magic, 400, "sign_up_not_allowed", {}, None),
    (ask_magic, 400, "email_domain_not_deliverable", {}, InvalidEmailError),
    (ask_magic, 429, "too_many_requests", {}, RateLimitedError),
    (ask_reset, 404, NOTHING, {}, None),
    (ask_reset, 403, "password_reset_not_allowed", {}, None),
    (ask_reset, 429, "too_many_requests", {}, RateLimitedError),
    (ask_confirmation, 404, NOTHING, {}, None),
    (ask_confirmation, 400, "email_already_verified", {}, None),
    (ask_confirmation, 429, "too_many_requests", {}, None),
    (reset, 400, "password_reset_error", TOO_WEAK, PasswordValidationError),
    (reset, 400, "password_reset_error", OLD, InvalidTokenError),
    (reset, 400, "password_reset_error", {}, InvalidTokenError),
    (reset, 404, NOTHING, {}, InvalidTokenError),
    *(
        (confirm, 400, f"email_verification_code_{name}", {}, InvalidTokenError)
        for name in ("incorrect", "expired", "previously_used")
    ),
    (confirm, 400, "email_already_verified", {}, InvalidTokenError),
    (confirm, 404, NOTHING, {}, InvalidTokenError),
    (sessions, 404, NOTHING, {}, None),
    (sign_out, 404, NOTHING, {}, None),
    (sign_out, 400, "session_already_ended", {}, None),
    (create_org, 400, "external_id_already_used", {}, OrgSlugConflictError),
    (create_org, 400, "invalid_metadata", {}, InvalidProfileError),
    (get_org, 404, NOTHING, {}, OrgNotFoundError),
    (update_org, 404, NOTHING, {}, OrgNotFoundError),
    (update_org, 400, "external_id_already_used", {}, OrgSlugConflictError),
    (update_org, 400, "invalid_metadata", {}, InvalidProfileError),
    (delete_org, 404, NOTHING, {}, None),
    (add_member, 404, NOTHING, {}, OrgNotFoundError),
    (add_member, 409, "conflict", {}, MemberAlreadyExistsError),
    (add_member, 422, "invalid_role", {}, InvalidProfileError),
    (list_members, 404, NOTHING, {}, OrgNotFoundError),
    *(
        (call, status, code, {}, kind)
        for call in (password, create, ask_reset, get_org, add_member)
        for status, code, kind in (
            (401, "unauthorized", AuthBackendError),
            (422, "invalid_request_parameters", AuthBackendError),
            (429, "daily_quota_exceeded", RateLimitedError),
            (418, "a code of tomorrow", AuthBackendError),
        )
    ),
    # WorkOS' own emulator answers otherwise:
    (password, 401, "invalid_credentials", {}, InvalidCredentialsError),
    (create, 409, "user_already_exists", {}, EmailAlreadyExistsError),
    (code, 400, "invalid_code_verifier", {}, InvalidCredentialsError),
    (code, 400, "invalid_code", {}, InvalidCredentialsError),
    (magic, 400, "invalid_code", {}, InvalidTokenError),
    (magic, 400, "expired_code", {}, InvalidTokenError),
    (step, 400, "expired_challenge", {}, InvalidTokenError),
    (reset, 400, "invalid_token", {}, InvalidTokenError),
    (reset, 400, "expired_token", {}, InvalidTokenError),
    (confirm, 400, "invalid_code", {}, InvalidTokenError),
    (ask_magic, 404, "not_found", {}, None),
]


def named(row):
    call, status, code, more, _ = row
    reasons = more["errors"][0]["code"] if isinstance(more, dict) and "errors" in more else ""
    return " ".join(filter(None, (call.__name__, str(status), code, reasons)))


@pytest.mark.parametrize("row", ROWS, ids=map(named, ROWS))
def test_a_refusal_becomes_this_error(auth, service, row):
    call, status, code, more, kind = row
    oauth = more == OAUTH
    times = 3 if call in (get_org, list_members, get_user) and status == 429 else 1
    for _ in range(times):
        service.refuse(status, code, oauth=oauth, path=PATHS[call], **({} if oauth else more))
    if kind is None:
        call(auth)
        return
    with pytest.raises(kind) as caught:
        call(auth)
    assert type(caught.value) in (kind, errors.EmailVerificationStep)
    shown = caught.value.message + str(caught.value.__cause__)
    assert "Request could not be processed" not in shown
    assert PASSWORD not in shown


def test_no_row_is_there_twice():
    names = list(map(named, ROWS))
    assert sorted(set(names)) == sorted(names)


def test_every_code_of_the_tables_has_its_row():
    """A row that nobody tests is a row that nobody knows to be right."""
    tables = [
        value
        for name, value in vars(errors).items()
        if isinstance(value, dict) and name.isupper() and not name.startswith("_")
    ]
    known = {key for table in tables for key in table}
    tested = {row[2] for row in ROWS} | {str(row[1]) for row in ROWS}
    assert sorted(known - tested) == []


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({}, 60), ({"Retry-After": "7"}, 7), ({"Retry-After": "soon"}, 60)],
    ids=["without", "seconds", "nonsense"],
)
def test_a_limit_says_for_how_long(auth, service, headers, seconds):
    service.disturb(429, {"code": "too_many_requests"}, headers=headers)
    with pytest.raises(RateLimitedError) as caught:
        password(auth)
    assert caught.value.retry_after == seconds


def test_a_step_carries_what_a_caller_needs_to_go_on(auth, service):
    service.refuse(
        400,
        "sso_required",
        oauth=True,
        connection_ids=["conn_1"],
        email=ADA,
        pending_authentication_token="a pending token",
    )
    with pytest.raises(AuthStepRequiredError) as caught:
        password(auth)
    assert caught.value.code == "sso_required"
    assert caught.value.pending_token == "a pending token"
    assert caught.value.details == {"connection_ids": ["conn_1"], "email": ADA}


def test_why_a_password_is_refused_is_told(auth, service):
    service.refuse(400, "password_strength_error", **TOO_WEAK)
    with pytest.raises(PasswordValidationError, match="easy to guess"):
        create(auth)


def test_a_code_cannot_write_into_a_log(auth, service):
    service.refuse(418, "x\r\nINFO forged \x1b[31m" + "y" * 500)
    with pytest.raises(AuthBackendError) as caught:
        password(auth)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 120
