"""The thread that empties the outbox while the program does other things."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import threading
import time
import weakref

from .delivery import Delivery

__all__ = ["DRAIN_SECONDS", "MailWorker"]

_log = logging.getLogger(__name__)

DRAIN_SECONDS = 5.0
"""For how long a disconnect, or the end of the program, waits for mails to be sent."""

_PAUSE = (0.05, 0.15)
_chance = secrets.SystemRandom()
_LONGEST_WAIT = 30.0


class MailWorker:
    """Sends what is due in a daemon thread, which the first :meth:`wake` starts.

    After being woken it pauses for a moment, of random length: the answer to the request that woke
    it is out before any work is done that only a known address causes. When database or KV store
    are down it tries again, ever less often. It belongs to its process: a forked child starts its
    own at its first :meth:`wake`.

    Args:
        automatic: ``False`` leaves all sending to whoever calls the delivery.
    """

    def __init__(self, delivery: Delivery, *, automatic: bool = True) -> None:
        self._delivery = delivery
        self._automatic = automatic
        self._ends_at: float | None = None
        self._begin()
        _workers.add(self)

    def wake(self) -> None:
        """Have the outbox looked at soon. Never raises."""
        with self._lock:
            if not self._automatic or self._stopping.is_set():
                return
            self._woken.set()
            if self._thread is None:
                self._start()

    def stop(self, seconds: float = DRAIN_SECONDS) -> None:
        """Send what is due, for *seconds* at most, and end the thread. Never raises."""
        ends_at = time.monotonic() + seconds
        self._end(ends_at)
        self._join(ends_at)

    def after_fork(self) -> None:
        """Forget the parent's thread; a worker that was stopped stays so."""
        stopped = self._stopping.is_set()
        self._begin()
        self._delivery.after_fork()
        if stopped:
            self._stopping.set()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._ends_at = None
        self._thread: threading.Thread | None = None

    def _end(self, ends_at: float) -> None:
        with self._lock:
            self._ends_at = ends_at
            self._stopping.set()
            self._woken.set()

    def _join(self, ends_at: float) -> None:
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, ends_at - time.monotonic()))

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="derp_auth_lite mail", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is ending, or there are too many threads
            _log.warning("the mail worker could not be started; mails wait in the outbox")
        else:
            self._thread = thread

    def _run(self) -> None:
        failures = 0
        while True:
            self._stopping.wait(_chance.uniform(*_PAUSE))
            last = self._stopping.is_set()
            wait = self._round()
            if last:
                return
            failures = 0 if wait is not None else min(failures + 1, 5)
            if not self._stopping.is_set():  # or clearing may have swallowed its call
                self._woken.wait(2.0**failures if wait is None else wait)

    def _round(self) -> float | None:
        """Send what is due; return the seconds until more is, or ``None`` after a failure."""
        self._woken.clear()
        try:
            self._delivery.send_due(self._ends_at)
            due = self._delivery.seconds_until_due()
        except Exception as error:  # noqa: BLE001  nobody would see it, and mail would stand still
            _log.warning("the outbox cannot be worked on now: %s", type(error).__name__)
            return None
        return _LONGEST_WAIT if due is None else min(due, _LONGEST_WAIT)


_workers: weakref.WeakSet[MailWorker] = weakref.WeakSet()


def _at_exit() -> None:
    """Give the workers of a program that ends normally their time, all together."""
    ends_at = time.monotonic() + DRAIN_SECONDS
    workers = list(_workers)
    for worker in workers:
        worker._end(ends_at)
    for worker in workers:
        worker._join(ends_at)


def _after_fork_in_child() -> None:
    for worker in list(_workers):
        worker.after_fork()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
