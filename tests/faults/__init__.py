"""Faults made on purpose: quick with the tests, in full numbers with ``tox -e faults``.

``DERP_AUTH_LITE_TEST_FAULTS=full`` asks for the full numbers. Each test reports its line of one
table, which stands at the end of the run: fault, backend, rounds, violations, worst latency.
"""

from __future__ import annotations

import dataclasses
import os

from derp_auth_lite.config import ThrottleConfig

NOBODY = 65534
"""The user that owns nothing: rights bind everybody but root."""

PLENTY = {
    limit.name: (10**6, 3600)
    for limit in dataclasses.fields(ThrottleConfig)
    if limit.name != "failures_in_a_row"
}
"""Limits that count and never close."""

FULL = os.environ.get("DERP_AUTH_LITE_TEST_FAULTS") == "full"


def rounds(quick: int, full: int) -> int:
    """Return how many rounds to run."""
    return full if FULL else quick


def backend_of(database: str) -> str:
    """Return the name of a database's kind."""
    return "postgresql" if database.startswith("postgresql") else "sqlite"
