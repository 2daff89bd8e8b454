"""Timing in turns: A B A B …, so that a machine that slows down slows both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table: medians in microseconds, and their ratio."""

    operation: str
    ours: float
    against: str
    theirs: float
    target: float | None = None
    """The ratio is to be no more than this."""

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs


def medians(
    contestants: Mapping[str, Callable[[], object]], *, rounds: int = 9, calls: int = 200
) -> dict[str, float]:
    """Return what a call of each costs in microseconds, the median over *rounds* turns."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for call in contestants.values():
        call()
    for _ in range(rounds):
        for name, call in contestants.items():
            start = time.perf_counter()
            for _ in range(calls):
                call()
            taken[name].append((time.perf_counter() - start) / calls * 1e6)
    return {name: statistics.median(times) for name, times in taken.items()}


def table(rows: list[Row]) -> str:
    """Return the rows as a table to read."""
    lines = [
        f"{'operation':<44}{'µs':>9}  {'against':<38}{'µs':>9}{'ratio':>8}{'target':>9}",
        *(
            f"{row.operation:<44}{row.ours:>9.1f}  {row.against:<38}{row.theirs:>9.1f}"
            f"{row.ratio:>8.2f}{_target(row):>9}"
            for row in rows
        ),
    ]
    return "\n".join(line.rstrip() for line in lines)


def _target(row: Row) -> str:
    if row.target is None:
        return ""
    return f"{row.target:.2f}{'' if row.ratio <= row.target else ' !'}"
