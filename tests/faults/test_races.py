"""Many processes at the same row: writers, one-time tokens, refresh against sign-out, owners."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from datetime import timedelta

import pytest

from derp_auth_lite._local.throttle import Attempt
from derp_auth_lite._native.one_time import Claim
from derp_auth_lite.config import ThrottleConfig
from derp_auth_lite.exceptions import InvalidCredentialsError, InvalidTokenError, LastOwnerError
from derp_auth_lite.kv.disk import DiskKV
from derp_auth_lite.kv.redis import RedisKV
from derp_auth_lite.orm import DatabaseEngine

from .. import processes
from ..processes import EIGHT, together
from ..support import PASSWORD, MovableClock, Request, native_client
from ..test_orgs_races import fight, org_of, people
from . import PLENTY, backend_of, invariants, rounds

PAIRS = EIGHT // 2
LONGEST = 3600.0
GUESSED, NETWORK = "ada@example.com", "192.0.2.1"
POOL = 5  # 16 processes with as many connections each are within PostgreSQL's usual hundred


# Writers


def write(database, number, threads, operations):
    """Live many lives in many threads; return how long each call took, and what went wrong."""
    clock = MovableClock()
    auth = native_client(database, clock)
    auth.set_db(DatabaseEngine(database, clock=clock, pool_size=POOL))
    took, wrong = [], []

    def timed(call, *arguments, **keywords):
        began = time.perf_counter()
        try:
            return call(*arguments, **keywords)
        finally:
            took.append(time.perf_counter() - began)

    def live(thread):
        try:
            for turn in range(operations // 5):
                email = f"user{number}-{thread}-{turn}@example.com"
                user = timed(auth.create_user, email=email, password=PASSWORD, confirmed=True)
                tokens = timed(auth.sign_in_with_password, email, PASSWORD).tokens
                timed(auth.refresh_token, tokens.refresh_token)
                timed(auth.update_user, user_id=user.id, first_name=str(turn))
                timed(auth.sign_out_all, user.id)
        except Exception as error:
            wrong.append(repr(error))

    with native_client(":memory:", clock) as first:  # what is loaded on demand is loaded now
        first.sign_up(email="first@example.com", password=PASSWORD)
    with auth:
        together()
        workers = [threading.Thread(target=live, args=(thread,)) for thread in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    return took, wrong


@pytest.fixture(scope="session")
def writers(request):
    count = rounds(EIGHT, 16)
    if count == EIGHT:
        yield request.getfixturevalue("crew")
        return
    with processes.crew(count) as started:
        yield started


def test_many_writers_never_see_a_lock_error_and_none_waits_long(auth, database, writers, report):
    """16 processes of 8 threads of 500 operations: no error, and 99 of 100 take less than 2 s."""
    threads, operations = rounds(4, 8), rounds(10, 500)
    results = writers.run(
        write,
        [(database, number, threads, operations) for number in range(writers.count)],
        seconds=LONGEST,
    )
    took = sorted(seconds for each, _ in results for seconds in each)
    wrong = [error for _, each in results for error in each]
    p99 = took[len(took) * 99 // 100]
    report("writers: p99", backend_of(database), len(took), p99)
    report("writers: longest", backend_of(database), len(took), took[-1], wrong)
    assert p99 < 2
    assert len(took) == writers.count * threads * operations
    assert auth.count_users() == len(took) // 5
    assert auth.list_sessions() == []
    invariants.check(auth)


# One-time tokens


def redeem(database, kv_place, tokens, number):
    """Try every token at the moment when everybody does; return which were won."""
    with redeemer(database, kv_place) as auth:
        won, worst = bytearray(), 0.0
        for token in tokens:
            together()
            began = time.perf_counter()
            try:
                auth.confirm_email(token)
            except InvalidTokenError:
                won.append(0)
            else:
                won.append(1)
            worst = max(worst, time.perf_counter() - began)
        return bytes(won), worst


def redeemer(database, kv_place, **settings):
    kv = RedisKV(kv_place) if "://" in kv_place else DiskKV(kv_place, clock=MovableClock())
    return native_client(database, MovableClock(), kv=kv, **settings)


def test_a_one_time_token_is_redeemed_by_one_of_all_who_try_at_once(
    database, tmp_path, redis_url, crowd, report
):
    count = rounds(40, 10_000)
    place = redis_url if backend_of(database) == "postgresql" else str(tmp_path / "kv")
    with redeemer(database, place) as auth:
        users = [
            auth._accounts.by_id(auth.create_user(email=f"user{number}@example.com").id)
            for number in range(count)
        ]
        tokens = [
            auth._one_time.issue(
                Claim(
                    purpose="confirmation",
                    email=user.email,
                    user_id=str(user.id),
                    stamp=user.token_stamp,
                ),
                timedelta(hours=1),
            )
            for user in users
        ]
        results = crowd.run(
            redeem,
            [(database, place, tokens, number) for number in range(crowd.count)],
            seconds=LONGEST,
        )
        wins = [sum(each) for each in zip(*(won for won, _ in results), strict=True)]
        wrong = [f"token {number}: {won} wins" for number, won in enumerate(wins) if won != 1]
        name = f"single-use race of {crowd.count}"
        report(name, backend_of(database), count, max(worst for _, worst in results), wrong)
        assert sum(wins) == count
        invariants.check(auth)


# Counts of a throttle


def guess(database, kv_place, times):
    """Guess a password; return how often a count was lower than a moment before."""
    fell, last = 0, {}
    with redeemer(database, kv_place, throttle=ThrottleConfig(**PLENTY)) as auth:
        account = auth._throttle.address_hash(GUESSED)
        attempt = Attempt(account, NETWORK)
        keys = {
            "sign_in_by_pair": attempt.pair,
            "sign_in_by_account": account,
            "sign_in_by_range": NETWORK,
        }
        together()
        for _ in range(times):
            with contextlib.suppress(InvalidCredentialsError):
                auth.sign_in_with_password(GUESSED, "a wrong password", ip_address=NETWORK)
            for name, key in keys.items():
                count = int(auth._kv_client.get(auth._throttle._key(name, key)) or 0)
                fell += count < last.get(name, 0)
                last[name] = count
    return fell, last


@pytest.mark.parametrize("store", ["disk", "redis"])
def test_a_throttles_count_never_falls_and_none_is_lost(
    auth, database, tmp_path, redis_url, crew, store, report
):
    each = rounds(10, 500)
    place = redis_url if store == "redis" else str(tmp_path / "kv")
    with RedisKV(redis_url) as kv:
        kv.delete_many(list(kv.scan(prefix=b"derp:auth:throttle")))
    user = auth.create_user(email=GUESSED, password=PASSWORD, confirmed=True)
    results = crew.run(guess, [(database, place, each)] * EIGHT, seconds=LONGEST)
    total = each * EIGHT
    wrong = ["a count fell"] * sum(fell for fell, _ in results)
    for name in results[0][1]:
        highest = max(last[name] for _, last in results)
        wrong += [] if highest == total else [f"{name} is {highest} of {total}"]
    failed = auth._accounts.by_id(user.id).failed_sign_ins
    wrong += [] if failed == total else [f"{failed} of {total} failures in the user's row"]
    report("throttle counts", f"{backend_of(database)}, {store}", total, None, wrong)


# Refresh against sign-out


def refresh_or_sign_out(database, number, sessions):
    """Refresh each session, or sign it out, at the same moment as the other of the pair."""
    rng = random.Random(number)
    pairs, worst = [], 0.0
    with native_client(database, MovableClock()) as auth:
        for session_id, token in sessions:
            together()
            time.sleep(rng.uniform(0, 0.0005))
            began = time.perf_counter()
            if number % 2:
                auth.sign_out(session_id)
            else:
                try:
                    pair = auth.refresh_token(token)
                    pairs.append((pair.access_token, pair.refresh_token))
                except InvalidTokenError:
                    pass
            worst = max(worst, time.perf_counter() - began)
    return pairs, worst


def test_a_refresh_that_races_with_a_sign_out_resurrects_nothing(auth, database, crew, report):
    count = rounds(100, 20_000)
    user_id = auth.create_user(email="ada@example.com", password=PASSWORD, confirmed=True).id
    shares = []
    for _ in range(PAIRS):
        opened = (auth._sessions.open(user_id, "default") for _ in range(count // PAIRS))
        shares.append([(str(each.id), auth._tokens.issue(each).refresh_token) for each in opened])
    results = crew.run(
        refresh_or_sign_out,
        [(database, number, shares[number // 2]) for number in range(EIGHT)],
        seconds=LONGEST,
    )
    refreshed = [pair for pairs, _ in results for pair in pairs]
    alive = [session.session_id for session in auth.list_sessions()]
    alive += [pair for pair in refreshed if auth.authenticate(Request(pair[0])) is not None]
    spent = [token for share in shares for _, token in share] + [pair[1] for pair in refreshed]
    alive += [token for token in spent if taken(auth, token)]
    worst = max(seconds for _, seconds in results)
    report("refresh against sign-out", backend_of(database), count, worst, alive)
    assert 0 < len(refreshed) < count, "one of the two was always first: nothing raced"


def taken(auth, token):
    try:
        auth.refresh_token(token)
    except InvalidTokenError:
        return False
    return True


# Owners


def test_owners_who_remove_demote_or_leave_each_other_never_leave_an_organization_ownerless(
    auth, database, crew, report
):
    each = rounds(40, 5000) // PAIRS
    users = people(auth, EIGHT)
    orgs = [org_of(auth, f"org{pair}", users[2 * pair : 2 * pair + 2]) for pair in range(PAIRS)]
    results = crew.run(
        fight,
        [
            (database, orgs[number // 2], users[number], users[number ^ 1], each)
            for number in range(EIGHT)
        ],
        seconds=LONGEST,
    )
    wrong = [
        both
        for pair in range(PAIRS)
        for both in zip(results[2 * pair], results[2 * pair + 1], strict=True)
        if sorted(both) != [LastOwnerError.__name__, "done"]
    ]
    report("owner race", backend_of(database), each * PAIRS, None, wrong)
    invariants.check(auth)
