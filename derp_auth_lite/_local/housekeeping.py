"""Removing rows that are over: a few now and then at sign-ins, or all of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

__all__ = ["Housekeeping", "Purge"]

Purge = Callable[[int], int]
"""Removes at most so many rows of a table that are over, and returns how many it removed."""

_EVERY = 16  # sign-ins: a statement costs as much for many rows as for none
_FEW = 160
_STEP = 500


class Housekeeping:
    """Purges tables.

    Args:
        at_sign_ins: Tables that sign-ins fill.
        others: Tables that wait for :meth:`purge`.
    """

    def __init__(self, at_sign_ins: Sequence[Purge], others: Sequence[Purge] = ()) -> None:
        self._at_sign_ins = at_sign_ins
        self._others = others
        self._sign_ins = itertools.count()

    def after_sign_in(self) -> None:
        """Remove a few rows with every so many sign-ins, so that nobody has to."""
        if next(self._sign_ins) % _EVERY == 0:
            for purge in self._at_sign_ins:
                purge(_FEW)

    def purge(self) -> int:
        """Remove all, some at a time, so that no lock is held long; return how many."""
        return sum(_in_steps(purge) for purge in (*self._at_sign_ins, *self._others))


def _in_steps(purge: Purge) -> int:
    total = 0
    while True:
        removed = purge(_STEP)
        total += removed
        if removed < _STEP:
            return total
