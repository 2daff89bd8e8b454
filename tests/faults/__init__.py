"""Faults made on purpose: quick with the tests, in full numbers with ``tox -e faults``.

``DERP_AUTH_LITE_TEST_FAULTS=full`` asks for the full numbers, and each test tells its own line of
the table: fault, rounds, violations, worst latency.
"""

from __future__ import annotations

import os

FULL = os.environ.get("DERP_AUTH_LITE_TEST_FAULTS") == "full"


def rounds(quick: int, full: int) -> int:
    """Return how many rounds to run."""
    return full if FULL else quick


def report(fault: str, count: int, worst: float | None = None) -> None:
    """Print a line of the table; a violation would have failed the test before."""
    latency = "" if worst is None else f"{worst * 1000:8.1f} ms"
    print(f"\n{fault:<58} {count:>7} rounds   0 violations {latency}")
