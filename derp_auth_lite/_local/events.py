"""The record of what happened to accounts: written in the transaction of the act itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from .._records import new_id
from .._request import UNKNOWN, Caller
from .._statements import Bind, Statement
from .._tables import Event
from ..orm import DatabaseEngine

__all__ = ["FAILURE", "SUCCESS", "Events"]

SUCCESS = "success"
FAILURE = "failure"

_INSERT = Statement(
    lambda: Event.insert(
        {
            Event.id: Bind("id"),
            Event.user_id: Bind("user_id"),
            Event.action: Bind("action"),
            Event.outcome: Bind("outcome"),
            Event.reason: Bind("reason"),
            Event.session_id: Bind("session_id"),
            Event.address_hash: Bind("address_hash"),
            Event.ip_address: Bind("ip_address"),
            Event.user_agent: Bind("user_agent"),
            Event.details: Bind("details"),
            Event.created_at: Bind("now"),
        }
    ).returning(Event.id)
)
_EXPIRED = Event.alias("expired")
_PURGE = Statement(
    lambda: (
        Event.delete()
        .where(
            Event.id.in_(
                _EXPIRED.select(_EXPIRED.id)
                .where(_EXPIRED.created_at < Bind("before"))
                .limit(Bind("n"))
            )
        )
        .returning(Event.id)
    )
)


class Events:
    """Writes what happened to ``auth_events``."""

    def __init__(self, engine: DatabaseEngine) -> None:
        self._engine = engine

    def record(
        self,
        action: str,
        outcome: str = SUCCESS,
        *,
        user_id: Any = None,
        reason: str | None = None,
        session_id: Any = None,
        address_hash: str | None = None,
        caller: Caller = UNKNOWN,
        details: dict[str, Any] | None = None,
    ) -> None:
        """Write one event; inside a transaction it is kept or dropped with the rest.

        Args:
            action: What was tried, such as ``sign_in``.
            reason: Why it was refused, which the caller of the library never learns.
            address_hash: A keyed hash that stands for an address without an account.
        """
        self._engine.fetch(
            _INSERT,
            id=new_id(),
            user_id=user_id,
            action=action,
            outcome=outcome,
            reason=reason,
            session_id=session_id,
            address_hash=address_hash,
            ip_address=caller.ip_address,
            user_agent=caller.user_agent,
            details=details or {},
            now=self._engine.now,
        )

    def purge(self, before: datetime, limit: int) -> int:
        """Remove at most *limit* events older than *before*; return how many."""
        return self._engine.execute(_PURGE, before=before, n=limit)
