"""Eight processes on one SQLite file, against one process."""

from __future__ import annotations

import functools
import statistics
import time

from derp_auth_lite._clock import utc_now

from ..processes import EIGHT, crew, together
from ..support import PASSWORD, native_client
from .interleaved import Row
from .results import report

SECONDS = 1.0
ROUNDS = 5
FILES = 10


@functools.cache
def of_this_process(path):
    auth = native_client(path, utc_now)
    auth.connect()
    return auth


def work(path, name, number):
    """Sign in or refresh for a second while the others do; return how long each call took."""
    auth = of_this_process(path)
    email, taken = f"user{number}@example.com", []
    tokens = auth.sign_in_with_password(email, PASSWORD).tokens
    together()
    ends = time.monotonic() + SECONDS
    while (begun := time.monotonic()) < ends:
        if name == "sign_in":
            auth.sign_in_with_password(email, PASSWORD)
        else:
            tokens = auth.refresh_token(tokens.refresh_token)
        taken.append(time.monotonic() - begun)
    return taken


def open_first(path, number):
    """Open a file that is not there yet, at the same time as the others."""
    auth = native_client(path, utc_now)
    together()
    begun = time.monotonic()
    with auth:
        auth.create_user(email=f"user{number}@example.com")
        return time.monotonic() - begun


def test_eight_processes_do_more_than_one_and_none_waits_long(tmp_path):
    """A database that is locked for one of them would raise, and fail this."""
    path = str(tmp_path / "auth.db")
    with native_client(path, utc_now) as auth:
        for number in range(EIGHT):
            auth.create_user(email=f"user{number}@example.com", password=PASSWORD)
    rows = []
    with crew(1) as one, crew(EIGHT) as eight:
        for name in ("sign_in", "refresh"):
            costs, longest = {1: [], EIGHT: []}, 0.0
            for _ in range(ROUNDS):
                for each in (one, eight):
                    taken = each.run(work, [(path, name, number) for number in range(each.count)])
                    calls = sum(map(len, taken))
                    costs[each.count].append(SECONDS / calls * 1e6)
                    if each is eight:
                        longest = max(longest, *map(max, taken))
            together_, alone = (statistics.median(costs[count]) for count in (EIGHT, 1))
            rows += [
                Row(f"{name}: µs each, eight processes", together_, "one process", alone, 1 / 1.2),
                Row(f"{name}: the longest wait of eight", longest * 1e6, "200 ms", 2e5, 1),
            ]
        waits = [
            max(eight.run(open_first, [(str(tmp_path / f"{n}.db"), k) for k in range(EIGHT)]))
            for n in range(FILES)
        ]
    rows.append(Row("first open of a new file, the longest", max(waits) * 1e6, "200 ms", 2e5, 1))
    report(
        "Eight processes on one SQLite file",
        rows,
        "One process alone is inside its transaction for two thirds of the time, the wait for the"
        " disk (synchronous FULL) included, and eight can be there only one after the other: 0.65"
        " would be the least. SQLite tells nobody that the lock is free. Who waits asks now and"
        " then, so that it lies idle for a fifth of the time; to ask more often takes one of two"
        " processors from who works. And each begins with what the others have left of the caches:"
        " the same transaction takes up to half as long again.",
    )
