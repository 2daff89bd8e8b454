"""The outbox: mails that are to be sent, as intents in the table ``auth_outbox``.

An intent says what is to be mailed to whom. It holds no token, and nothing was looked up for it:
whether the address has an account is found out when it is sent. It is written in the transaction
of the act that it belongs to, and stays until the mail was taken or is of no more use.

A sender takes an intent under a lease, one at a time: until ``due_at`` nobody else takes it. Only
who holds the lease may remove or postpone it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from .._mail.links import check_link
from .._mail.message import one_line
from .._records import as_object, new_id
from .._statements import Bind, Free, Statement
from .._tables import OutboxMail
from .._values import as_json_object
from ..email import RESERVED_VARIABLES
from ..models import UndeliveredMail
from ..orm import DatabaseEngine, as_utc

__all__ = ["LEASE", "Intent", "Outbox"]

LEASE = timedelta(minutes=3)
"""How long a mail is its sender's alone; its transport must be done before (SMTP takes one)."""

_KEPT = timedelta(days=30)
_COLUMNS = (
    OutboxMail.id,
    OutboxMail.kind,
    OutboxMail.email,
    OutboxMail.payload,
    OutboxMail.attempts,
    OutboxMail.lease,
    OutboxMail.expires_at,
)


class Intent(NamedTuple):
    """A mail that is to be sent.

    Args:
        kind: The mail's template.
        payload: ``message_id``, the same for each attempt; ``base_url``, to which the token is
            added; ``subject`` in place of the mail's own; ``variables`` of its template;
            ``about``, what the library needs to know of the account.
        attempts: How often it was taken, this time included.
        lease: Whose it is.
    """

    id: str
    kind: str
    email: str
    payload: Mapping[str, Any]
    attempts: int
    lease: str
    expires_at: datetime


_INSERT = Statement(
    lambda: OutboxMail.insert(
        {
            OutboxMail.id: Bind("id"),
            OutboxMail.kind: Bind("kind"),
            OutboxMail.email: Bind("email"),
            OutboxMail.payload: Bind("payload"),
            OutboxMail.attempts: 0,
            OutboxMail.created_at: Bind("now"),
            OutboxMail.due_at: Bind("now"),
            OutboxMail.expires_at: Bind("expires_at"),
        }
    ).returning(OutboxMail.id)
)
# Locked: who comes second waits until the first has moved due_at, and gets the next one.
_NEXT = Statement(
    lambda: (
        OutboxMail.select(OutboxMail.id)
        .where(OutboxMail.due_at <= Bind("now"))
        .order_by(OutboxMail.due_at)
        .limit(1)
    ),
    lock=True,
)
_TAKE = Statement(
    lambda: (
        OutboxMail.update(
            {
                OutboxMail.lease: Bind("lease"),
                OutboxMail.due_at: Bind("until"),
                OutboxMail.attempts: OutboxMail.attempts + 1,
            }
        )
        .where(OutboxMail.id == Bind("id"))
        .returning(*_COLUMNS)
    )
)
_NEXT_DUE = Statement(
    lambda: (
        OutboxMail.select(OutboxMail.due_at)
        .where(OutboxMail.due_at.is_null(False))
        .order_by(OutboxMail.due_at)
        .limit(1)
    ),
    repeatable=True,
)
_HURRY = Statement(
    lambda: (
        OutboxMail.update({OutboxMail.due_at: Bind("now")})
        .where(OutboxMail.due_at > Bind("now"), OutboxMail.lease.is_null())
        .returning(OutboxMail.id)
    )
)
_DONE = Statement(
    lambda: (
        OutboxMail.delete()
        .where(OutboxMail.id == Bind("id"), OutboxMail.lease == Bind("lease"))
        .returning(OutboxMail.id)
    )
)


def _release(changes: Mapping[Any, Any]) -> Any:
    released = {OutboxMail.lease: None, OutboxMail.last_error: Bind("reason"), **changes}
    return (
        OutboxMail.update(released)
        .where(OutboxMail.id == Bind("id"), OutboxMail.lease == Bind("lease"))
        .returning(OutboxMail.id)
    )


_POSTPONE = Statement(lambda: _release({OutboxMail.due_at: Bind("due_at")}))
_GIVE_UP = Statement(lambda: _release({OutboxMail.due_at: None, OutboxMail.failed_at: Bind("now")}))
_FAILED = Statement(
    lambda: (
        OutboxMail.select(
            OutboxMail.id,
            OutboxMail.kind,
            OutboxMail.email,
            OutboxMail.attempts,
            OutboxMail.last_error,
            OutboxMail.created_at,
            OutboxMail.failed_at,
        )
        .where(OutboxMail.failed_at.is_null(False))
        .order_by(OutboxMail.created_at.desc(), OutboxMail.id.desc())
        .limit(Bind("limit"))
        .offset(Bind("offset"))
    ),
    repeatable=True,
)
_KIND = Statement(
    lambda: OutboxMail.select(OutboxMail.kind).where(
        OutboxMail.id == Bind("id"), OutboxMail.failed_at.is_null(False)
    ),
    lock=True,
)
_RETRY = Statement(
    lambda: (
        OutboxMail.update(
            {
                OutboxMail.failed_at: None,
                OutboxMail.attempts: 0,
                OutboxMail.due_at: Bind("now"),
                OutboxMail.expires_at: Bind("expires_at"),
            }
        )
        .where(OutboxMail.id == Bind("id"))
        .returning(OutboxMail.id)
    )
)
_OLD = OutboxMail.alias("old")
_PURGE = Statement(
    lambda: (
        OutboxMail.delete()
        .where(
            OutboxMail.id.in_(
                Free(
                    _OLD.select(_OLD.id)
                    .where(_OLD.expires_at < Bind("before"), _OLD.failed_at < Bind("before"))
                    .limit(Bind("limit"))
                )
            )
        )
        .returning(OutboxMail.id)
    )
)


class Outbox:
    """The table ``auth_outbox``.

    Args:
        lifetimes: For each kind of mail, for how long after it was asked for it is of use.
    """

    def __init__(self, engine: DatabaseEngine, lifetimes: Mapping[str, timedelta]) -> None:
        self._engine = engine
        self._lifetimes = lifetimes

    @property
    def engine(self) -> DatabaseEngine:
        """The engine of the table's database."""
        return self._engine

    def add(
        self,
        kind: str,
        email: str,
        *,
        message_id: str,
        base_url: str | None = None,
        subject: str | None = None,
        variables: Mapping[str, Any] | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> str:
        """Write an intent; inside a transaction it is kept or dropped with the rest.

        Args:
            email: A normalised address.
            message_id: Of all attempts.
            base_url: The page that the mail links to; the token is added when the mail is sent.
            variables: An application's own, for its templates.
            about: What the library has to know when the mail is sent.

        Returns:
            The intent's id.

        Raises:
            TypeError: A variable has a name of the library's own, or is no JSON.
            ValueError: *base_url* is no link that a mail may hold.
            EmailSendError: *subject* cannot stand in a header.
        """
        now = self._engine.now
        payload = {
            "message_id": message_id,
            "base_url": None if base_url is None else check_link(base_url),
            "subject": None if subject is None else one_line(subject, "subject"),
            "variables": _own(variables or {}),
            "about": dict(about or {}),
        }
        mail_id = new_id()
        self._engine.send(
            _INSERT,
            id=mail_id,
            kind=kind,
            email=email,
            payload=payload,
            now=now,
            expires_at=now + self._lifetimes[kind],
        )
        return mail_id

    def take(self) -> Intent | None:
        """Return an intent that is due, which is the caller's alone for :data:`LEASE`."""
        if not self._is_due(self.next_due()):
            return None
        with self._engine.transaction():
            now = self._engine.now
            row = self._engine.fetch_one(_NEXT, now=now)
            if row is None:
                return None
            lease = secrets.token_hex(8)
            row = self._engine.fetch_one(_TAKE, id=str(row[0]), lease=lease, until=now + LEASE)
        return None if row is None else _intent(row)

    def next_due(self) -> datetime | None:
        """Return when the next intent is to be sent, which may be past; None if none waits."""
        row = self._engine.fetch_one(_NEXT_DUE)
        return None if row is None else as_utc(row[0])

    def hurry(self) -> None:
        """Make everything due that waits for its next attempt."""
        self._engine.send(_HURRY, now=self._engine.now)

    def done(self, intent: Intent) -> bool:
        """Remove an intent; ``False`` if its lease was lost meanwhile, and nothing was done."""
        return self._engine.execute(_DONE, id=intent.id, lease=intent.lease) == 1

    def postpone(self, intent: Intent, delay: timedelta, reason: str) -> bool:
        """Give an intent back, to be tried again after *delay*; ``False`` as :meth:`done`."""
        due = self._engine.now + delay
        changed = self._engine.execute(
            _POSTPONE, id=intent.id, lease=intent.lease, due_at=due, reason=reason
        )
        return changed == 1

    def give_up(self, intent: Intent, reason: str) -> bool:
        """Keep an intent for somebody to look at; ``False`` as :meth:`done`."""
        now = self._engine.now
        changed = self._engine.execute(
            _GIVE_UP, id=intent.id, lease=intent.lease, now=now, reason=reason
        )
        return changed == 1

    def undelivered(self, *, limit: int, offset: int = 0) -> list[UndeliveredMail]:
        """Return the mails that were given up, newest first."""
        rows = self._engine.fetch(_FAILED, limit=limit, offset=offset)
        return [_undelivered(row) for row in rows]

    def retry(self, mail_id: str) -> bool:
        """Send a mail that was given up after all; ``False`` where there is none."""
        now = self._engine.now
        with self._engine.transaction():
            row = self._engine.fetch_one(_KIND, id=mail_id)
            if row is None:
                return False
            ends = now + self._lifetimes.get(row[0], LEASE)
            return self._engine.execute(_RETRY, id=mail_id, now=now, expires_at=ends) == 1

    def purge(self, limit: int) -> int:
        """Remove at most *limit* mails that were given up a month ago; return how many."""
        return self._engine.execute(_PURGE, before=self._engine.now - _KEPT, limit=limit)

    def _is_due(self, moment: datetime | None) -> bool:
        return moment is not None and moment <= self._engine.now


def _own(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return an application's variables, checked."""
    for name in variables:
        if name in RESERVED_VARIABLES:
            raise TypeError(f"the mail variable {name!r} is set by the library: use another name")
    return as_json_object("the mail's variables", dict(variables))


def _intent(row: tuple[Any, ...]) -> Intent:
    intent = Intent._make(row)
    return intent._replace(
        id=str(intent.id),
        payload=as_object(row[3]),
        expires_at=as_utc(intent.expires_at),
    )


def _undelivered(row: tuple[Any, ...]) -> UndeliveredMail:
    mail_id, kind, email, attempts, reason, created_at, failed_at = row
    return UndeliveredMail(
        id=str(mail_id),
        kind=kind,
        email=email,
        attempts=attempts,
        reason=reason,
        created_at=as_utc(created_at),
        failed_at=as_utc(failed_at),
    )
