"""Stores that come through ``os.fork`` whole: no lock held by a thread that the child lacks."""

from __future__ import annotations

import abc
import os
import threading
import weakref

__all__ = ["ForkAware"]


class ForkAware(abc.ABC):
    """Something that is brought to rest before each fork and released on both sides after it."""

    def __init__(self) -> None:
        with _registry_lock:
            _registry.add(self)

    @abc.abstractmethod
    def before_fork(self) -> None:
        """Take the lock, and close what a child must not inherit."""

    @abc.abstractmethod
    def after_fork(self) -> None:
        """Give the lock back. Called in the parent and in the child."""


_registry: weakref.WeakSet[ForkAware] = weakref.WeakSet()
_registry_lock = threading.Lock()
_resting: list[ForkAware] = []


def _before() -> None:
    _registry_lock.acquire()
    for store in list(_registry):
        store.before_fork()
        _resting.append(store)


def _after() -> None:
    while _resting:
        _resting.pop().after_fork()
    _registry_lock.release()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
