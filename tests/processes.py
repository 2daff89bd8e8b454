"""Processes that do one thing at the same moment."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

EIGHT = 8
_SECONDS = 60
_meeting: dict[str, Any] = {}


def _remember(barrier: Any) -> None:
    _meeting["barrier"] = barrier


def together() -> None:
    """Wait, in a process of the crew, until the others are here too."""
    _meeting["barrier"].wait(_SECONDS)


class Crew:
    """Runs a function in its processes at once; it must be importable, and call `together`."""

    def __init__(self, pool: Any, count: int) -> None:
        self.count = count
        self._pool = pool

    def run(
        self,
        function: Callable[..., Any],
        arguments: Sequence[tuple[Any, ...]],
        *,
        seconds: float = 2 * _SECONDS,
    ) -> list[Any]:
        """Return what the calls returned; an exception of one is raised."""
        assert len(arguments) == self.count
        # Nobody gets past the barrier alone, so each call has a process of its own.
        return self._pool.starmap_async(function, arguments, chunksize=1).get(seconds)


@contextlib.contextmanager
def crew(count: int = EIGHT) -> Iterator[Crew]:
    """Yield processes, started afresh (spawned), so that they share nothing."""
    context = multiprocessing.get_context("spawn")
    pool = context.Pool(count, _remember, (context.Barrier(count),))
    try:
        yield Crew(pool, count)
        pool.close()
    except BaseException:
        pool.terminate()
        raise
    finally:
        pool.join()
