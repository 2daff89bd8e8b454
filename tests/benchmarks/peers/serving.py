"""What a peer's process does: it times what it is asked for until its input ends."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import time
from collections.abc import Callable
from typing import Any


def serve(
    operations: dict[str, Callable[[], Any]], run: Callable[[Any], Any] = asyncio.run
) -> None:
    """Answer each line ``[name, calls]`` with the seconds that so many calls of it took.

    Args:
        run: Runs a coroutine to its end, for peers that are asynchronous.
    """
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        name, calls = json.loads(line)
        operation = operations[name]
        if inspect.iscoroutinefunction(operation):
            taken = run(_time_async(operation, calls))
        else:
            taken = _time(operation, calls)
        print(json.dumps(taken), file=answers, flush=True)


def _time(operation: Callable[[], Any], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        operation()
    return time.perf_counter() - start


async def _time_async(operation: Callable[[], Any], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        await operation()
    return time.perf_counter() - start
