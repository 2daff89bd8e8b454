"""An organization and its owner take two calls: whatever is lost between them can be made good."""

from __future__ import annotations

import pytest

from derp_auth_lite.exceptions import (
    AuthBackendError,
    AuthError,
    InvalidProfileError,
    OrgSlugConflictError,
)
from derp_auth_lite.kv.memory import MemoryKV
from derp_auth_lite.testing.workos import FakeWorkOS

from .support import PASSWORD
from .workos_support import ADA, connected, lose_calls

BOB = "bob@example.com"


@pytest.fixture
def service(auth_clock):
    with FakeWorkOS(clock=auth_clock) as service:
        yield service


@pytest.fixture
def kv(auth_clock):
    return MemoryKV(clock=auth_clock)


@pytest.fixture
def auth(service, auth_clock, kv):
    with connected(service.config, auth_clock, kv=kv) as client:
        client._api.http._retries = 0  # they take time, and hide what is looked at here
        yield client


@pytest.fixture
def ada(auth):
    return auth.sign_up(email=ADA, password=PASSWORD).user


@pytest.fixture
def bob(auth):
    return auth.sign_up(email=BOB, password=PASSWORD).user


def make(auth, user, name="Engines", **fields):
    return auth.create_org(name=name, slug="engines", creator_id=user.id, **fields)


def held(service):
    """Return (user, role) of each membership, and how many organizations there are."""
    env = service.environment
    rows = [(it["user_id"], it["role"]["slug"]) for it in env.memberships.values()]
    return rows, len(env.orgs)


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("done", [False, True], ids=["not done", "not answered"])
@pytest.mark.parametrize("point", [1, 2, 3])
def test_after_a_failure_at_any_call_the_same_call_makes_the_organization(
    auth, service, auth_clock, kv, ada, point, done, for_good
):
    """With its owner, once, and by a process that knows nothing of the first."""
    mend = lose_calls(service, point, done=done, for_good=for_good)
    with pytest.raises(AuthBackendError):
        make(auth, ada, metadata={"seats": 3})
    mend()
    with connected(service.config, auth_clock, kv=kv) as another:
        org = make(another, ada, metadata={"seats": 3})
        assert (org.slug, org.metadata) == ("engines", {"seats": 3})
        assert held(service) == ([(ada.id, "owner")], 1)
        with pytest.raises(OrgSlugConflictError):
            make(another, ada)


@pytest.mark.parametrize("done", [False, True], ids=["not done", "not answered"])
def test_what_finishes_it_may_fail_as_well(auth, service, ada, done):
    mend = lose_calls(service, 3, done=False)
    with pytest.raises(AuthBackendError):
        make(auth, ada)
    mend()
    for again in range(1, 7):
        mend = lose_calls(service, again, done=done)
        with pytest.raises(AuthError):
            make(auth, ada)
        mend()
    assert make(auth, ada).name == "Engines"
    assert held(service) == ([(ada.id, "owner")], 1)


def begun(auth, service, user, **fields):
    """Leave an organization behind."""
    mend = lose_calls(service, 3, done=False)
    with pytest.raises(AuthBackendError):
        make(auth, user, **fields)
    mend()
    assert held(service) == ([], 1)


def test_nobody_else_gets_what_somebody_began(auth, service, ada, bob):
    begun(auth, service, ada)
    for _ in range(2):
        with pytest.raises(OrgSlugConflictError):
            make(auth, bob)
    make(auth, ada)
    assert held(service) == ([(ada.id, "owner")], 1)


def test_an_organization_of_others_is_nobodys_to_take(auth, service, ada, auth_clock):
    """Made in the dashboard, for a directory to fill."""
    service.environment.add_org({"name": "Engines", "external_id": "engines"})
    auth_clock.advance(hours=1)
    for _ in range(2):
        with pytest.raises(OrgSlugConflictError):
            make(auth, ada)
    assert held(service) == ([], 1)


def test_one_that_others_made_after_a_failure_is_not_taken_either(auth, service, ada):
    mend = lose_calls(service, 2, done=False)
    with pytest.raises(AuthBackendError):
        make(auth, ada)
    mend()
    service.environment.add_org({"name": "Something else", "external_id": "engines"})
    with pytest.raises(OrgSlugConflictError):
        make(auth, ada)
    assert held(service) == ([], 1)


def test_one_that_has_members_meanwhile_is_not_taken(auth, service, ada, bob):
    begun(auth, service, ada)
    (org_id,) = service.environment.orgs
    auth.add_org_member(org_id=org_id, user_id=bob.id)
    with pytest.raises(OrgSlugConflictError):
        make(auth, ada)
    assert held(service) == ([(bob.id, "member")], 1)


def test_a_note_that_somebody_else_wrote_into_the_store_gives_nothing(auth, service, ada, kv):
    """Who writes the KV store gets nothing by it."""
    begun(auth, service, ada)
    (key,) = [key for key in kv.scan() if b"begun" in key]
    note = kv.get(key)
    assert b"engines" not in key + note
    changed = bytes([note[-1] ^ 1])
    for forged in (note[:-1] + changed, note[32:], b"", bytes(32) + note[32:]):
        kv.set(key, forged)
        with pytest.raises(OrgSlugConflictError):
            make(auth, ada)
    assert held(service) == ([], 1)


def test_after_a_day_it_is_a_conflict(auth, service, ada, auth_clock):
    begun(auth, service, ada)
    auth_clock.advance(hours=25)
    with pytest.raises(OrgSlugConflictError):
        make(auth, ada)


def test_what_was_refused_leaves_no_note(auth, service, ada, kv):
    service.environment.roles.discard("owner")
    with pytest.raises(InvalidProfileError):
        make(auth, ada)
    with pytest.raises(InvalidProfileError):
        make(auth, ada, metadata={"key": "x" * 700})
    assert not [key for key in kv.scan() if b"begun" in key]
    assert held(service) == ([], 0)


def test_without_a_kv_store_a_failure_is_taken_back(auth, service, ada):
    auth.set_kv(None)
    service.disturb(500, path="/organization_memberships")
    with pytest.raises(AuthBackendError):
        make(auth, ada)
    assert held(service) == ([], 0)
    make(auth, ada)
    assert held(service) == ([(ada.id, "owner")], 1)
