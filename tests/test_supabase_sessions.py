"""What is kept here of sessions at the service, on both databases."""

from __future__ import annotations

import threading
import uuid

import pytest

from derp_auth_lite._supabase.sessions import FORGOTTEN, KEPT, RemoteSessions
from derp_auth_lite.testing import FakeSupabase

from .supabase_support import bearer, connected, join
from .support import Request


@pytest.fixture
def store(make_auth):
    """The table, in a database that has a user Ada with an organization and a user Bob."""
    auth = make_auth()
    store = RemoteSessions(auth._db)
    store.ada = auth.sign_up(email="ada@example.com", password="correct horse battery").user.id
    store.bob = auth.sign_up(email="bob@example.com", password="correct horse battery").user.id
    store.org = auth.create_org(name="E", slug="e", creator_id=store.ada).id
    store.auth = auth
    return store


def new_id():
    return str(uuid.uuid4())


def test_what_was_noted_is_known(store):
    session_id = new_id()
    assert store.find(session_id) is None
    store.note(session_id, store.ada)
    assert store.find(session_id) == (store.ada, False, None)
    store.note(session_id, store.bob)
    assert store.find(session_id).user_id == store.ada, "who was first stays"


def test_an_organization_is_shown_while_the_membership_lasts(store):
    session_id = new_id()
    store.note(session_id, store.ada)
    assert store.set_org(session_id, store.ada, store.org) is True
    assert store.find(session_id).org == (store.org, "owner")
    store.auth.add_org_member(org_id=store.org, user_id=store.bob, role="owner")
    store.auth.remove_org_member(org_id=store.org, user_id=store.ada)
    assert store.find(session_id).org is None


def test_just_a_living_session_of_the_user_enters(store):
    session_id = new_id()
    assert store.set_org(session_id, store.ada, store.org) is False
    store.note(session_id, store.ada)
    assert store.set_org(session_id, store.bob, store.org) is False
    store.end(session_id)
    assert store.set_org(session_id, store.ada, store.org) is False
    assert store.find(session_id).org is None


def test_ends_hold_for_one_or_for_all_of_a_user(store, clock):
    mine, others = [new_id() for _ in range(3)], new_id()
    for session_id in mine:
        store.note(session_id, store.ada)
    store.note(others, store.bob)
    store.end(mine[0])
    assert [store.find(s).ended for s in (*mine, others)] == [True, False, False, False]
    store.end_all(store.ada)
    assert [store.find(s).ended for s in (*mine, others)] == [True, True, True, False]


def test_an_organization_is_forgotten_of_all_or_of_a_user(store):
    ada, bob = new_id(), new_id()
    store.auth.add_org_member(org_id=store.org, user_id=store.bob)
    for session_id, user_id in ((ada, store.ada), (bob, store.bob)):
        store.note(session_id, user_id)
        store.set_org(session_id, user_id, store.org)
    store.forget_org(store.org, store.bob)
    assert [store.find(s).org is None for s in (ada, bob)] == [False, True]
    store.forget_org(store.org)
    assert store.find(ada).org is None


def test_purging_takes_what_is_of_no_more_use(store, clock):
    ended, active, idle = new_id(), new_id(), new_id()
    for session_id in (ended, active, idle):
        store.note(session_id, store.ada)
    store.end(ended)
    store.set_org(active, store.ada, store.org)
    clock.advance(seconds=KEPT.total_seconds())
    assert store.purge(100) == 0
    clock.advance(seconds=1)
    assert store.purge(100) == 1
    clock.advance(seconds=FORGOTTEN.total_seconds())
    assert store.purge(100) == 1
    assert [store.find(s) is None for s in (ended, active, idle)] == [True, False, True]
    for _ in range(5):
        store.note(new_id(), store.ada)
    clock.advance(seconds=FORGOTTEN.total_seconds() + 1)
    assert [store.purge(3), store.purge(3)] == [3, 2]


def test_a_removed_member_has_no_organization_however_it_races(database, clock):
    """Entering and removal at the same moment, 20 times: whatever comes last, access has ended."""
    with (
        FakeSupabase(clock=clock) as project,
        connected(project.config, clock, database=database) as auth,
    ):
        ada = join(auth)
        org = auth.create_org(name="E", slug="e", creator_id=ada.user.id)
        bob = join(auth, "bob@example.com")
        session_id = auth.authenticate(bearer(bob.tokens)).session_id
        tokens = bob.tokens
        for _ in range(20):
            auth.add_org_member(org_id=org.id, user_id=bob.user.id)
            barrier, got = threading.Barrier(2), []

            def enter(barrier=barrier, got=got, refresh=tokens.refresh_token):
                barrier.wait()
                try:
                    got.append(
                        auth.set_active_org(
                            session_id=session_id, org_id=org.id, refresh_token=refresh
                        )
                    )
                except Exception as error:
                    got.append(error)

            thread = threading.Thread(target=enter)
            thread.start()
            barrier.wait()
            auth.remove_org_member(org_id=org.id, user_id=bob.user.id)
            thread.join()
            tokens = auth.refresh_token(tokens.refresh_token)
            assert auth.authenticate(bearer(tokens)).org_id is None
            auth.add_org_member(org_id=org.id, user_id=bob.user.id)
            assert auth.authenticate(bearer(tokens)).org_id is None
            auth.remove_org_member(org_id=org.id, user_id=bob.user.id)


def test_all_sessions_of_a_user_are_over_until_new_ones_begin(store, clock):
    before = clock()
    assert not store.is_over(store.ada, before)
    store.end_all(store.ada)
    clock.advance(seconds=1)
    assert store.is_over(store.ada, before)
    assert not store.is_over(store.ada, clock())
    assert not store.is_over(store.bob, before)
    store.end_all(store.ada)
    assert store.is_over(store.ada, clock())
    clock.advance(seconds=KEPT.total_seconds() + 1)
    assert store.purge(10) == 1
    assert not store.is_over(store.ada, before)


@pytest.mark.parametrize("end", ["disable", "delete", "sign_out_all"])
def test_a_token_that_was_never_seen_here_ends_with_its_user(clock, end):
    """Of a session that a browser has begun at the service itself."""
    with FakeSupabase(clock=clock) as project, connected(project.config, clock) as auth:
        user = join(auth).user
        unseen = Request(project.sign(user.id, new_id()))
        clock.advance(seconds=1)
        if end == "disable":
            auth.update_user(user_id=user.id, is_active=False)
        elif end == "delete":
            auth.delete_user(user.id)
        else:
            auth.sign_out_all(user.id)
        assert auth.authenticate(unseen) is None
        if end == "sign_out_all":
            clock.advance(seconds=1)
            assert auth.authenticate(Request(project.sign(user.id, new_id())))
