"""Purging: a few rows at every sixteenth sign-in, all of them on demand, never many at once."""

from __future__ import annotations

from derp_auth_lite._local.housekeeping import Housekeeping


class Table:
    """Rows that are over, and how many each call might have removed."""

    def __init__(self, rows):
        self.rows = rows
        self.limits = []

    def purge(self, limit):
        self.limits.append(limit)
        removed = min(limit, self.rows)
        self.rows -= removed
        return removed


def test_the_first_sign_in_of_sixteen_removes_some():
    sessions, mails = Table(1000), Table(1000)
    keeping = Housekeeping([sessions.purge], [mails.purge])
    for _ in range(17):
        keeping.after_sign_in()
    assert sessions.limits == [160, 160]
    assert mails.limits == []


def test_all_goes_in_steps_that_are_small():
    sessions, mails = Table(1234), Table(500)
    assert Housekeeping([sessions.purge], [mails.purge]).purge() == 1734
    assert sessions.rows == mails.rows == 0
    assert sessions.limits == [500] * 3
    assert mails.limits == [500] * 2
