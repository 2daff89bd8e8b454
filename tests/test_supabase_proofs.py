"""A first proof of an address, and the password that somebody else may have set before it.

Supabase proves the address and lets the password be replaced in two calls: whatever happens between
them, that password opens nothing.
"""

from __future__ import annotations

import pytest

from derp_auth_lite.exceptions import (
    AuthBackendError,
    AuthError,
    InvalidCredentialsError,
    PasswordValidationError,
)
from derp_auth_lite.testing import FakeSupabase

from .supabase_support import ADA, PAGE, bearer, connected, join
from .support import PASSWORD, MovableClock

OWNERS = "the password of the owner"


@pytest.fixture
def project():
    with FakeSupabase(clock=MovableClock(), autoconfirm=False) as project:
        yield project


@pytest.fixture
def database(tmp_path):
    return str(tmp_path / "app.db")


@pytest.fixture
def auth(project, database):
    with connected(project.config, project.clock, database=database) as client:
        client._api.http._retries = 0
        yield client


def squat(auth, project):
    """Somebody signs up with the address of another."""
    join(auth, confirmation_url=PAGE)
    project.clock.advance(minutes=30)


def magic_link(auth, project):
    """Return what the owner does with a link to sign in; none before is known to this process."""
    auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
    mail = project.last_mail()
    return lambda client: client.verify_magic_link(mail.token)


def reset(auth, project):
    auth.request_password_recovery(email=ADA, recovery_url=PAGE)
    mail = project.last_mail()
    return lambda client: client.reset_password(mail.token, OWNERS)


class Killed(BaseException):
    """The end of the process."""


def die_at(client, number):
    """End the process before it sends call *number*."""
    real, count = client._api.http.request, [0]

    def request(*args, **kwargs):
        count[0] += 1
        if count[0] >= number:
            raise Killed
        return real(*args, **kwargs)

    client._api.http.request = request


@pytest.mark.parametrize("number", [2, 3, 4])
@pytest.mark.parametrize("how", [magic_link, reset])
def test_a_process_that_ends_after_the_proof_leaves_a_password_that_opens_nothing(
    auth, project, database, how, number
):
    squat(auth, project)
    come = how(auth, project)
    with connected(project.config, project.clock, database=database) as other:
        die_at(other, number)
        try:
            come(other)
        except Killed:
            assert project._project.by_email(ADA)["email_confirmed_at"]
    with pytest.raises(InvalidCredentialsError):
        auth.sign_in_with_password(ADA, PASSWORD)
    with pytest.raises(InvalidCredentialsError):
        auth.sign_in_with_password(ADA, PASSWORD)
    project.clock.advance(minutes=2)
    auth.request_password_recovery(email=ADA, recovery_url=PAGE)
    auth.reset_password(project.last_mail().token, f"{OWNERS}, anew")
    assert auth.sign_in_with_password(ADA, f"{OWNERS}, anew").tokens


@pytest.mark.parametrize("fault", [{"status": 503}, {"lost": True}], ids=str)
@pytest.mark.parametrize("how", [magic_link, reset])
def test_a_service_that_fails_then_keeps_nobody_elses_password(auth, project, how, fault):
    squat(auth, project)
    come = how(auth, project)
    project.disturb(path="/verify")
    project.disturb(path="/logout", times=9, **fault)
    project.disturb(path=project._project.by_email(ADA)["id"], **fault)
    project.disturb(path="/user", **fault)
    with pytest.raises(AuthBackendError):
        come(auth)
    project._disturbances.clear()
    with pytest.raises(InvalidCredentialsError):
        auth.sign_in_with_password(ADA, PASSWORD)
    project.clock.advance(minutes=2)
    owner = magic_link(auth, project)(auth)
    assert auth.authenticate(bearer(owner.tokens)).user_id == owner.user.id


def test_a_new_password_that_the_project_refuses_keeps_nobody_elses(auth, project):
    squat(auth, project)
    auth.request_password_recovery(email=ADA, recovery_url=PAGE)
    token = project.last_mail().token
    project.disturb(path="/verify")
    project.disturb(
        422, {"code": "weak_password", "weak_password": {"reasons": ["pwned"]}}, path="/user"
    )
    with pytest.raises(PasswordValidationError):
        auth.reset_password(token, OWNERS)
    with pytest.raises(InvalidCredentialsError):
        auth.sign_in_with_password(ADA, PASSWORD)


def test_a_link_that_comes_next_finishes_what_the_first_began(auth, project):
    """The second is no first proof, and the password is replaced by it all the same."""
    squat(auth, project)
    come = magic_link(auth, project)
    project.disturb(503, path=project._project.by_email(ADA)["id"])
    with pytest.raises(AuthBackendError):
        come(auth)
    project.clock.advance(minutes=2)
    magic_link(auth, project)(auth)
    assert project._project.passwords[project._project.by_email(ADA)["id"]] != PASSWORD


def test_who_has_set_a_password_since_keeps_it(auth, project):
    squat(auth, project)
    magic_link(auth, project)(auth)
    project.clock.advance(minutes=2)
    reset(auth, project)(auth)
    assert auth.sign_in_with_password(ADA, OWNERS).tokens
    project.clock.advance(minutes=2)
    magic_link(auth, project)(auth)
    assert auth.sign_in_with_password(ADA, OWNERS).tokens


@pytest.mark.parametrize("password", [PASSWORD, "a wrong password"])
def test_a_disabled_account_looks_like_none(auth, project, password):
    """Supabase says that it is disabled whatever the password is."""
    user = auth.create_user(email=ADA, password=PASSWORD, confirmed=True)
    auth.update_user(user_id=user.id, is_active=False)
    found = []
    for email in (ADA, "nobody@example.com"):
        with pytest.raises(AuthError) as caught:
            auth.sign_in_with_password(email, password)
        found.append((type(caught.value), caught.value.message, caught.value.code))
    assert found[0] == found[1]


def by_code(project, redeem):
    """Follow the newest mail of the project's, and redeem what the page gets a minute later."""
    back = project.follow(project.last_mail())
    project.clock.advance(minutes=1)
    return redeem(back.code, state=back.state)


def test_who_has_just_confirmed_the_address_keeps_the_password(auth, project):
    """The service's times alone do not tell which link was the first."""
    squat(auth, project)
    by_code(project, auth.confirm_email)
    auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE)
    by_code(project, auth.verify_magic_link)
    assert auth.sign_in_with_password(ADA, PASSWORD).tokens


def test_a_confirmation_makes_no_password_good_that_is_to_be_replaced(auth):
    user = join(auth).user
    auth._sessions.owe_password(user.id)
    auth._sessions.keep_password(user.id)
    assert auth._sessions.owes_password(user.id)


def test_what_is_to_be_replaced_is_not_forgotten(auth, project):
    user = join(auth).user
    auth._sessions.owe_password(user.id)
    project.clock.advance(days=400)
    auth.purge()
    auth._sessions.end_all(user.id)
    assert auth._sessions.owes_password(user.id)
