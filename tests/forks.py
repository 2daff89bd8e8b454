"""Forked processes: one that tells whether something holds, or many that do one thing at once."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

__all__ = ["in_child", "run_in_forks"]

_SECONDS = 120


def in_child(holds: Callable[[], object]) -> int:
    """Fork, and return 0 if *holds* does in the child."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if holds() else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1]


def run_in_forks(
    count: int,
    prepare: Callable[..., AbstractContextManager[Any]],
    act: Callable[[Any, int], Any],
    *arguments: Any,
) -> list[Any]:
    """Return what ``act(prepared, number)`` returned in each of *count* processes.

    Each enters ``prepare(*arguments)`` first, waits until all have, and then acts. The functions
    must be importable.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply_async(_fork, (count, prepare, act, arguments)).get(_SECONDS)


def _fork(count: int, prepare: Any, act: Any, arguments: tuple[Any, ...]) -> list[Any]:
    ready, gate = os.pipe(), os.pipe()
    results = []
    for number in range(count):
        result = os.pipe()
        if os.fork() == 0:
            os.close(gate[1])
            _child(ready[1], gate[0], result[1], lambda: prepare(*arguments), act, number)
        os.close(result[1])
        results.append(result[0])
    os.close(ready[1])
    for _ in range(count):
        os.read(ready[0], 1)
    os.close(gate[1])
    return [_outcome(result) for result in results]


def _child(ready: int, gate: int, result: int, prepare: Any, act: Any, number: int) -> None:
    try:
        with prepare() as prepared:
            os.write(ready, b".")
            os.read(gate, 1)
            outcome = (True, act(prepared, number))
    except BaseException:  # the parent raises it
        outcome = (False, traceback.format_exc())
        os.write(ready, b".")
    with os.fdopen(result, "wb") as file:
        file.write(pickle.dumps(outcome))
    os._exit(0)


def _outcome(result: int) -> Any:
    with os.fdopen(result, "rb") as file:
        succeeded, value = pickle.loads(file.read())
    assert succeeded, value
    os.wait()
    return value
