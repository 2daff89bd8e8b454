"""What must hold of organizations when several processes act at the same moment.

``DERP_AUTH_LITE_TEST_ROUNDS`` sets how often two owners meet; a thousand times and more is for a
run of its own.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from functools import partial

import psycopg
import pytest

from derp_auth_lite._statements import Statement
from derp_auth_lite._tables import OrgMember, Session, User
from derp_auth_lite.exceptions import AuthError

from .processes import EIGHT, together
from .servers.postgres import wait_for_locks
from .support import PASSWORD, MovableClock, Request, native_client

PAIRS = EIGHT // 2
ROUNDS = -(-int(os.environ.get("DERP_AUTH_LITE_TEST_ROUNDS", "50")) // PAIRS)

ACTIVE_ORGS = Statement(lambda: Session.select(Session.org_id).where(Session.org_id.is_null(False)))
OF_NOBODY = Statement(
    lambda: OrgMember.select(OrgMember.org, OrgMember.user_id).where(
        OrgMember.user_id.not_in(User.select(User.id))
    )
)


def outcome(act):
    """Return what became of an act: "done", or the name of the typed error."""
    try:
        return "done" if act() is not False else "not there"
    except AuthError as error:
        return type(error).__name__


def people(auth, count):
    return [auth.create_user(email=f"user{number}@example.com").id for number in range(count)]


def org_of(auth, slug, owners):
    first, *others = owners
    org_id = auth.create_org(name=slug, slug=slug, creator_id=first).id
    for user_id in others:
        auth.add_org_member(org_id=org_id, user_id=user_id, role="owner")
    return org_id


def fight(database, org_id, me, other, rounds):
    """Try again and again to leave the organization to one owner; whoever wins undoes it."""
    with native_client(database, MovableClock()) as auth:
        acts = [
            (lambda: auth.remove_org_member(org_id=org_id, user_id=other), other),
            (lambda: auth.update_org_member(org_id=org_id, user_id=other, role="x"), other),
            (lambda: auth.remove_org_member(org_id=org_id, user_id=me), me),
            (lambda: auth.update_org_member(org_id=org_id, user_id=me, role="x"), me),
        ]
        results = []
        for number in range(rounds):
            act, loser = acts[number % len(acts)]
            together()
            results.append(outcome(act))
            together()
            if results[-1] == "done":
                undo = (auth.add_org_member, auth.update_org_member)[number % 2]
                undo(org_id=org_id, user_id=loser, role="owner")
        return results


def test_row_24_two_owners_who_remove_or_demote_each_other_or_leave_together_leave_one(
    auth, database, crew
):
    users = people(auth, EIGHT)
    orgs = [org_of(auth, f"org{pair}", users[2 * pair : 2 * pair + 2]) for pair in range(PAIRS)]
    results = crew.run(
        fight,
        [
            (database, orgs[number // 2], users[number], users[number ^ 1], ROUNDS)
            for number in range(EIGHT)
        ],
    )
    for pair in range(PAIRS):
        for both in zip(results[2 * pair], results[2 * pair + 1], strict=True):
            assert sorted(both) == ["LastOwnerError", "done"]
    for org_id in orgs:
        assert {member.role for member in auth.list_org_members(org_id=org_id)} == {"owner"}


def delete_user_once(database, user_id):
    with native_client(database, MovableClock()) as auth:
        together()
        return outcome(lambda: auth.delete_user(user_id))


def test_row_24_of_eight_owners_of_the_same_organizations_deleted_together_one_stays(
    auth, database, crew
):
    users = people(auth, EIGHT)
    orgs = {org_of(auth, f"org{number}", [*users[number:], *users[:number]]) for number in range(5)}
    results = crew.run(delete_user_once, [(database, user_id) for user_id in users])
    assert Counter(results) == {"done": 7, "LastOwnerError": 1}
    (left,) = auth.list_users()
    assert {org.id for org in auth.list_orgs(user_id=left.id)} == orgs
    assert all(len(auth.list_org_members(org_id=org_id)) == 1 for org_id in orgs)


def create_once(database, user_id, slug):
    with native_client(database, MovableClock()) as auth:
        together()
        return outcome(lambda: auth.create_org(name="x", slug=slug, creator_id=user_id))


def test_of_eight_who_want_a_slug_one_gets_it(auth, database, crew):
    users = people(auth, EIGHT)
    results = crew.run(create_once, [(database, user_id, "acme") for user_id in users])
    assert Counter(results) == {"done": 1, "OrgSlugConflictError": 7}
    assert len(auth.list_org_members(slug="acme")) == 1


def rename_once(database, org_id):
    with native_client(database, MovableClock()) as auth:
        together()
        return outcome(lambda: auth.update_org(org_id=org_id, slug="acme"))


def test_of_eight_who_rename_themselves_alike_one_does(auth, database, crew):
    (ada,) = people(auth, 1)
    orgs = [org_of(auth, f"org{number}", [ada]) for number in range(EIGHT)]
    results = crew.run(rename_once, [(database, org_id) for org_id in orgs])
    assert Counter(results) == {"done": 1, "OrgSlugConflictError": 7}


def add_once(database, org_id, user_id):
    with native_client(database, MovableClock()) as auth:
        together()
        return outcome(lambda: auth.add_org_member(org_id=org_id, user_id=user_id))


def test_of_eight_who_add_the_same_member_one_does(auth, database, crew):
    ada, bob = people(auth, 2)
    org_id = org_of(auth, "acme", [ada])
    results = crew.run(add_once, [(database, org_id, bob)] * EIGHT)
    assert Counter(results) == {"done": 1, "MemberAlreadyExistsError": 7}
    assert len(auth.list_org_members(org_id=org_id)) == 2


def switch_or_end(database, kind, org_id, user_id, session_id, rounds):
    """Switch a session to an organization, while the other one ends the membership."""
    with native_client(database, MovableClock()) as auth:
        bad = []
        for _ in range(rounds):
            together()
            if kind == "switch":
                result = outcome(lambda: auth.set_active_org(session_id=session_id, org_id=org_id))
                expected = {"done", "OrgMemberNotFoundError"}
            else:
                result = outcome(lambda: auth.remove_org_member(org_id=org_id, user_id=user_id))
                expected = {"done"}
            together()
            bad += [result] if result not in expected else []
            if kind == "end":
                bad += [row for row in auth._db.fetch(ACTIVE_ORGS) if str(row[0]) == org_id]
                auth.add_org_member(org_id=org_id, user_id=user_id)
        return bad


def test_a_switch_that_meets_the_end_of_the_membership_leaves_no_session_in_the_organization(
    auth, database, crew
):
    owner = auth.create_user(email="owner@example.com").id
    arguments = []
    for pair in range(PAIRS):
        member = auth.sign_up(email=f"member{pair}@example.com", password=PASSWORD)
        session_id = auth.authenticate(Request(member.tokens.access_token)).session_id
        org_id = org_of(auth, f"org{pair}", [owner, member.user.id])
        arguments += [
            (database, kind, org_id, member.user.id, session_id, ROUNDS)
            for kind in ("switch", "end")
        ]
    assert crew.run(switch_or_end, arguments) == [[]] * EIGHT


def add_or_delete(database, number, users):
    """Add people to an organization and make others of theirs, while those are deleted."""
    with native_client(database, MovableClock()) as auth:
        acts = (
            lambda turn, user_id: auth.delete_user(user_id),
            lambda turn, user_id: auth.add_org_member(slug=f"org{turn}", user_id=user_id),
            lambda turn, user_id: auth.create_org(name="x", slug=f"new{turn}", creator_id=user_id),
            lambda turn, user_id: auth.delete_org(slug=f"org{turn}"),
        )
        results = []
        for turn, user_id in enumerate(users):
            together()
            results.append(outcome(partial(acts[number % len(acts)], turn, user_id)))
        return results


def test_who_is_added_while_being_deleted_or_to_what_is_deleted_leaves_nothing_behind(
    auth, database, crew
):
    (owner,) = people(auth, 1)
    users = [auth.create_user(email=f"victim{turn}@example.com").id for turn in range(ROUNDS)]
    for turn in range(ROUNDS):
        org_of(auth, f"org{turn}", [owner])
    results = crew.run(add_or_delete, [(database, number, users) for number in range(EIGHT)])
    assert "AuthBackendError" not in {result for each in results for result in each}
    assert auth._db.fetch(OF_NOBODY) == []
    for org in auth.list_orgs():
        members = auth.list_org_members(org_id=org.id)
        assert "owner" in {member.role for member in members}
    assert {org.slug for org in auth.list_orgs()} <= {f"new{turn}" for turn in range(ROUNDS)}


def sign_in_and_out(database, number, org_id, user_id, rounds):
    """Half of them sign in, switch and sign out everywhere; the others end the memberships."""
    with native_client(database, MovableClock()) as auth:
        results = []
        together()
        for _ in range(rounds):
            if number % 2:
                results.append(
                    outcome(lambda: auth.remove_org_member(org_id=org_id, user_id=user_id))
                )
                auth.add_org_member(org_id=org_id, user_id=user_id)
                continue
            for _ in range(5):
                session_id = auth._sessions.open(user_id, "default").id
                results.append(
                    outcome(partial(auth.set_active_org, session_id=session_id, org_id=org_id))
                )
            results.append(outcome(lambda: auth.sign_out_all(user_id)))
        return results


def test_ending_a_membership_and_ending_all_sessions_do_not_block_each_other(auth, database, crew):
    owner, *users = people(auth, 1 + PAIRS)
    orgs = [org_of(auth, f"org{pair}", [owner, user]) for pair, user in enumerate(users)]
    results = crew.run(
        sign_in_and_out,
        [
            (database, number, orgs[number // 2], users[number // 2], ROUNDS)
            for number in range(EIGHT)
        ],
    )
    seen = {result for each in results for result in each}
    assert seen <= {"done", "OrgMemberNotFoundError", "InvalidTokenError"}


@pytest.mark.parametrize("act", ["sign_out_all", "remove_org_member", "delete_org"])
def test_several_sessions_are_locked_in_the_order_of_their_ids(postgres_url, clock, act):
    """Who waits for the first has locked none of the others, hence nobody waits for them."""
    with native_client(postgres_url, clock) as auth:
        owner, member = people(auth, 2)
        org_id = org_of(auth, "acme", [owner, member])
        ids = sorted(str(auth._sessions.open(member, "default").id) for _ in range(20))
        for session_id in ids:
            auth._sessions.set_org(session_id, org_id)
        given = {
            "sign_out_all": {"user_id": member},
            "remove_org_member": {"org_id": org_id, "user_id": member},
            "delete_org": {"org_id": org_id},
        }[act]
        work = threading.Thread(target=getattr(auth, act), kwargs=given)
        with (
            psycopg.connect(postgres_url) as first,
            psycopg.connect(postgres_url, autocommit=True) as second,
        ):
            first.execute("SELECT 1 FROM auth_sessions WHERE id = %s FOR UPDATE", [ids[0]])
            work.start()
            assert wait_for_locks(second)
            free = second.execute(
                "SELECT id FROM auth_sessions ORDER BY id FOR UPDATE SKIP LOCKED"
            ).fetchall()
            first.rollback()
            work.join()
        assert [str(row[0]) for row in free] == ids[1:]
        assert all(session.org_id is None for session in auth.list_sessions())
