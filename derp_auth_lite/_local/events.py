"""The record of what happened to accounts: written in the transaction of the act itself."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import peewee

from .._records import as_object, new_id
from .._request import UNKNOWN, Caller
from .._statements import Bind, Free, Statement
from .._tables import Event
from ..models import EventInfo
from ..orm import DatabaseEngine, as_utc

__all__ = ["FAILURE", "SUCCESS", "EventRecord", "Events", "Subscriber"]

_log = logging.getLogger(__name__)

Subscriber = Callable[[EventInfo], object]

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
_DELETE = Statement(lambda: Event.delete().where(Event.id == Bind("id")).returning(Event.id))
_COLUMNS = (
    Event.id,
    Event.user_id,
    Event.action,
    Event.outcome,
    Event.reason,
    Event.session_id,
    Event.address_hash,
    Event.ip_address,
    Event.user_agent,
    Event.details,
    Event.created_at,
)


class EventRecord(NamedTuple):
    """A row of ``auth_events``, values as the driver gave them."""

    id: Any
    user_id: Any
    action: str
    outcome: str
    reason: str | None
    session_id: Any
    address_hash: str | None
    ip_address: str | None
    user_agent: str | None
    details: Any
    created_at: Any

    def info(self) -> EventInfo:
        """Return the public record."""
        return EventInfo(
            id=str(self.id),
            user_id=None if self.user_id is None else str(self.user_id),
            action=self.action,
            outcome=self.outcome,
            reason=self.reason,
            session_id=None if self.session_id is None else str(self.session_id),
            address_key=self.address_hash,
            ip_address=self.ip_address,
            user_agent=self.user_agent,
            details=as_object(self.details),
            created_at=as_utc(self.created_at),
        )


def _page(*conditions: Any) -> Any:
    position = peewee.Tuple(Event.created_at, Event.id)
    after = peewee.Tuple(Bind("after_time"), Bind("after_id"))
    return (
        Event.select(*_COLUMNS)
        .where(position < after, *conditions)
        .order_by(Event.created_at.desc(), Event.id.desc())
        .limit(Bind("limit"))
    )


_LIST = Statement(_page, repeatable=True)
_LIST_OF_USER = Statement(lambda: _page(Event.user_id == Bind("user_id")), repeatable=True)
_EXPIRED = Event.alias("expired")
_PURGE = Statement(
    lambda: (
        Event.delete()
        .where(
            Event.id.in_(
                Free(
                    _EXPIRED.select(_EXPIRED.id)
                    .where(_EXPIRED.created_at < Bind("before"))
                    .limit(Bind("n"))
                )
            )
        )
        .returning(Event.id)
    )
)


class Events:
    """Writes what happened to ``auth_events``, and tells who wants to know.

    Args:
        subscribers: Each is called with every event, once it is committed, in the thread that
            wrote it. One that raises changes nothing.
    """

    def __init__(self, engine: DatabaseEngine, subscribers: Iterable[Subscriber] = ()) -> None:
        self._engine = engine
        self._subscribers = subscribers

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
        kept: bool = True,
    ) -> None:
        """Write one event; inside a transaction it is kept or dropped with the rest.

        Args:
            action: What was tried, such as ``sign_in``.
            reason: Why it was refused, which the caller of the library never learns.
            address_hash: A keyed hash that stands for an address without an account.
            kept: If not, the event is removed again at once and nobody is told: that takes as long
                as one that is kept. Belongs inside a transaction.
        """
        event = EventRecord(
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
            created_at=self._engine.now,
        )
        self._engine.send(_INSERT, now=event.created_at, **event._asdict())
        if not kept:
            self._engine.send(_DELETE, id=event.id)
            return
        for subscriber in tuple(self._subscribers):
            self._engine.after_commit(functools.partial(_tell, subscriber, event.info()))

    def list(
        self, user_id: str | None, *, limit: int, after: tuple[datetime, str]
    ) -> list[EventRecord]:
        """Return events, newest first, of one user or all."""
        rows = self._engine.fetch(
            _LIST if user_id is None else _LIST_OF_USER,
            user_id=user_id,
            after_time=after[0],
            after_id=after[1],
            limit=limit,
        )
        return [EventRecord._make(row) for row in rows]

    def purge(self, kept: timedelta, limit: int) -> int:
        """Remove at most *limit* events that are older than *kept*; return how many."""
        return self._engine.execute(_PURGE, before=self._engine.now - kept, n=limit)


def _tell(subscriber: Subscriber, event: EventInfo) -> None:
    try:
        subscriber(event)
    except Exception as error:  # noqa: BLE001  what an application does may raise anything
        # Its message and its traceback may hold anything too.
        _log.error("a subscriber raised %s at the event %s", type(error).__name__, event.action)
