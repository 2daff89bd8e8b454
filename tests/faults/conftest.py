"""Collects what the tests of faults report, and prints it as one table at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from .. import processes
from ..servers.redis_server import running_redis
from . import rounds

Report = Callable[..., None]

_ROW = "fault"
_LINE = "{:<60} {:<20} {:>7} {:>10} {:>13}"


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Put a line into the table; the test fails where it names violations."""

    def tell(
        fault: str,
        backend: str,
        count: int,
        worst: float | None = None,
        violations: Sequence[Any] = (),
    ) -> None:
        row = (fault, backend, count, len(violations), worst)
        request.node.user_properties.append((_ROW, row))
        assert not violations, f"{len(violations)} in {count}, such as {violations[:3]}"

    return tell


@pytest.fixture(scope="session")
def redis_url():
    """The URL of a Redis or Valkey server of these tests' own."""
    with running_redis() as url:
        yield url


@pytest.fixture(scope="session")
def crowd(request):
    """As many processes at once as the numbers ask for: 32, or eight in the quick versions."""
    count = rounds(processes.EIGHT, 32)
    if count == processes.EIGHT:
        yield request.getfixturevalue("crew")
        return
    with processes.crew(count) as started:
        yield started


def pytest_terminal_summary(terminalreporter: Any) -> None:
    calls = [
        report
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
    ]
    table: dict[tuple[str, str], list[Any]] = {}
    for report in calls:
        for name, value in report.user_properties:
            if name == _ROW:
                fault, backend, *figures = value
                table.setdefault((fault, backend), []).append(figures)
    failed = [report.nodeid for report in calls if report.failed and "/faults/" in report.nodeid]
    if not table and not failed:
        return
    terminalreporter.section("faults")
    terminalreporter.line(_LINE.format("fault", "backend", "rounds", "violations", "worst"))
    for (fault, backend), each in table.items():
        counts, violations, worst = zip(*each, strict=True)
        known = [seconds for seconds in worst if seconds is not None]
        latency = f"{max(known) * 1000:,.1f} ms" if known else ""
        terminalreporter.line(_LINE.format(fault, backend, sum(counts), sum(violations), latency))
    for place in failed:
        terminalreporter.line(f"FAILED {place}")
