"""What was refused, as events: the caller of the library learns little, the log learns why."""

from __future__ import annotations

from typing import Any

from .._local.events import FAILURE, Events
from .._local.throttle import Throttle
from .._request import Caller

__all__ = ["Refusals"]


class Refusals:
    """Writes refusals down, so far as one network range may fill the table."""

    def __init__(self, events: Events, throttle: Throttle) -> None:
        self._events = events
        self._throttle = throttle

    def record(
        self,
        action: str,
        reason: str,
        caller: Caller,
        *,
        user_id: Any = None,
        address: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        """Write a refusal down, unless there were too many from that range.

        Args:
            action: What was tried, such as ``sign_in``.
            reason: Why it was refused.
            address: Stands in the event as a keyed hash.
        """
        if self._throttle.may_note(caller):
            hashed = None if address is None else self._throttle.address_hash(address)
            self._events.record(
                action,
                FAILURE,
                user_id=user_id,
                reason=reason,
                address_hash=hashed,
                caller=caller,
                details=details,
            )
