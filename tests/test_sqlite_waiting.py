"""How threads and processes wait for SQLite's one write lock."""

from __future__ import annotations

import os
import sqlite3
import threading
import time

import peewee
import pytest

from derp_auth_lite import _sqlite
from derp_auth_lite._sqlite import patiently
from derp_auth_lite.exceptions import AuthBackendError
from derp_auth_lite.orm import DatabaseEngine


@pytest.fixture
def locked(tmp_path):
    """A file whose write lock somebody has; two functions: try to get it, and let it go."""
    path = tmp_path / "a.db"
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")

    def attempt():
        connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
        finally:
            connection.close()

    yield attempt, lambda: holder.execute("ROLLBACK")
    holder.close()


def test_of_many_threads_that_wait_one_at_a_time_asks_again_and_again(locked):
    """Else a hundred of them would leave no processor to the one that they wait for."""
    attempt, let_go = locked
    tries = []

    def counted():
        tries.append(1)
        attempt()

    threads = [threading.Thread(target=patiently, args=(counted,)) for _ in range(32)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    asked = len(tries)
    let_go()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    # 32 threads that each ask every millisecond would have asked thousands of times.
    assert asked < 1500


def test_who_has_waited_longer_asks_more_often_and_nobody_pauses_for_long():
    """So that of many who ask whoever came first is likely to be next."""

    def pauses(waited):
        return [_sqlite._pause(waited) for _ in range(1000)]

    newcomer, half, patient = (sum(pauses(waited)) for waited in (1e-6, 0.015, 0.03))
    assert newcomer > 1.5 * half > 1.5**2 * patient
    assert max(pauses(1e-6)) < 0.03
    # The first is no longer than a transaction of another's, and nobody spins.
    assert max(pauses(0.0)) < 0.002
    assert min(map(min, map(pauses, (0.0, 0.015, 1.0, 29.0)))) >= 0.0005


def test_who_waits_longer_than_anybody_may_gets_the_error(locked, monkeypatch):
    monkeypatch.setattr(_sqlite, "BUSY_SECONDS", 0.2)
    attempt, _ = locked
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        patiently(attempt)
    assert not _sqlite._turn.locked()


@pytest.mark.parametrize("owned", [True, False])
def test_a_transaction_waits_no_longer_than_that(tmp_path, monkeypatch, owned):
    """Whoever waits for the lock does so once, and not again around those who wait."""
    monkeypatch.setattr(_sqlite, "BUSY_SECONDS", 0.5)
    path = str(tmp_path / "app.db")
    engine = DatabaseEngine(path if owned else peewee.SqliteDatabase(path, timeout=0))
    engine.connect()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    with pytest.raises(AuthBackendError, match="busy"), engine.transaction():
        pass
    assert 0.5 <= time.monotonic() - begun < 1.2
    other.close()
    engine.disconnect()


def test_a_thread_that_waits_for_one_database_does_not_keep_another_from_going_on(locked):
    """The one may hold what the other waits for, and the other the turn."""
    attempt, let_go = locked
    waiting = threading.Thread(target=patiently, args=(attempt,))
    waiting.start()
    while not _sqlite._turn.locked():
        time.sleep(0.001)
    answers = iter([sqlite3.OperationalError("database is locked"), None])

    def other():
        answer = next(answers)
        if answer is not None:
            raise answer

    patiently(other)
    assert waiting.is_alive()
    let_go()
    waiting.join(10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_that_is_forked_while_a_thread_waits_can_wait_itself(locked):
    attempt, let_go = locked
    waiting = threading.Thread(target=patiently, args=(attempt,))
    waiting.start()
    while not _sqlite._turn.locked():
        time.sleep(0.001)
    pid = os.fork()
    if pid == 0:
        os._exit(1 if _sqlite._turn.locked() else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    let_go()
    waiting.join(10)
