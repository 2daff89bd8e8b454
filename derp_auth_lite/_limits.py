"""How often is too often: the settings of the throttle, offered by :mod:`.config`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

from ._settings import Settings

__all__ = ["ThrottleConfig"]

_MOST_FAILURES = 100
_LONGEST_WINDOW = 30 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class ThrottleConfig(Settings):
    """How often is too often: pairs of a number and the seconds in which that many are allowed.

    A number of 0 turns a limit off. A *range* is one IPv4 address or an IPv6 /64; all callers
    whose address is not known share one, with ten times the number. A *pair* is an account and a
    range together. Whoever has signed in from a range before passes the limits of account and range
    and is held by that of the pair alone.

    Args:
        failures_in_a_row: Wrong passwords of one account after which its password opens nothing
            until a link or a reset lets the owner in; 100 is the most that NIST SP 800-63B-4,
            section 3.2.2, allows.
        oauth_by_range: Sign-ins at providers that were begun; each is kept for ten minutes.
        token_by_range: One-time tokens that were refused.
        mail_by_address: Mails of one kind; beyond these two, they are dropped and nobody is told.
        lookup_by_user: Addresses that a signed-in user asks for, to add them to an organization:
            the answer says who has an account.
        events_by_range: Failures that are written down; beyond, they are only counted.
    """

    failures_in_a_row: int = 100
    sign_in_by_pair: tuple[int, int] = (10, 900)
    sign_in_by_account: tuple[int, int] = (50, 3600)
    sign_in_by_range: tuple[int, int] = (100, 900)
    sign_up_by_range: tuple[int, int] = (30, 3600)
    oauth_by_range: tuple[int, int] = (100, 900)
    token_by_range: tuple[int, int] = (100, 900)
    mail_by_address_burst: tuple[int, int] = (1, 60)
    mail_by_address: tuple[int, int] = (5, 3600)
    mail_by_range: tuple[int, int] = (30, 3600)
    lookup_by_user: tuple[int, int] = (30, 3600)
    events_by_range: tuple[int, int] = (200, 3600)

    def _check(self) -> None:
        fine = 0 <= self.failures_in_a_row <= _MOST_FAILURES
        self._need(fine, "failures_in_a_row", f"must be from 0 to {_MOST_FAILURES}")
        for limit in fields(self):
            if limit.name != "failures_in_a_row":
                count, seconds = getattr(self, limit.name)
                fine = count >= 0 and 0 < seconds <= _LONGEST_WINDOW
                self._need(fine, limit.name, "must be a number and the seconds that it is for")

    @classmethod
    def off(cls) -> Self:
        """Return no limits at all: for tests, and where something in front has its own."""
        names = [limit.name for limit in fields(cls) if limit.name != "failures_in_a_row"]
        return cls(failures_in_a_row=0, **dict.fromkeys(names, (0, 1)))
