"""Sending what the outbox holds: one mail at a time, each attempt with what comes of it."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta

from .._addresses import mask_email
from ..email import EmailClient
from ..exceptions import AuthBackendError, ConfigError, EmailSendError
from .events import FAILURE, Events
from .outbox import Intent, Outbox

__all__ = ["Delivery", "Resolve"]

_log = logging.getLogger(__name__)

_FIRST_DELAY = timedelta(seconds=5)
_LONGEST_DELAY = timedelta(minutes=5)
_JITTER = (0.75, 1.25)
_chance = secrets.SystemRandom()

Resolve = Callable[[Intent], Mapping[str, object] | None]
"""Returns the variables of a mail, the link with its new token among them.

``None`` where there is nothing to send: no account has the address, or it needs no such mail.
"""


class Delivery:
    """Sends intents; in one process never two at once.

    A mail that was not taken waits 5 seconds, then twice as long each time, up to 5 minutes, until
    it is of no more use. One that never will be (refused for good, a broken template) is given up:
    that is an event ``mail_failed``, and somebody may look and try again.

    Args:
        resolve: Finds the account and makes the token, anew for each attempt.
    """

    def __init__(
        self, outbox: Outbox, events: Events, email: EmailClient, resolve: Resolve
    ) -> None:
        self._outbox = outbox
        self._events = events
        self._email = email
        self._resolve = resolve
        self._accepted: dict[str, None] = {}
        self.after_fork()

    def after_fork(self) -> None:
        """Begin anew in a child: the thread that was sending is the parent's."""
        self._turn = threading.Lock()

    def send_due(self, until: float | None = None) -> int:
        """Send what is due; return how many mails were taken.

        Args:
            until: Begin no more after this moment of ``time.monotonic()``.

        Raises:
            AuthBackendError: The database failed.
        """
        sent = 0
        while until is None or time.monotonic() < until:
            outcome = self._next(until)
            if outcome is None:
                break
            sent += outcome
        return sent

    def seconds_until_due(self) -> float | None:
        """Return how long, by the clock, until something is due; ``None`` if nothing waits."""
        due = self._outbox.next_due()
        if due is None:
            return None
        return max(0.0, (due - self._outbox.engine.now).total_seconds())

    def _next(self, until: float | None) -> bool | None:
        """Take the next mail; tell whether it was sent, or ``None`` where none is due."""
        patience = -1.0 if until is None else max(0.0, until - time.monotonic())
        if not self._turn.acquire(timeout=min(patience, threading.TIMEOUT_MAX)):
            return None
        try:
            intent = self._outbox.take()
            return None if intent is None else self._attempt(intent)
        finally:
            self._turn.release()

    def _attempt(self, intent: Intent) -> bool:
        if intent.id in self._accepted:  # sent before, when the database could not be told
            self._done(intent)
            return False
        if intent.expires_at <= self._outbox.engine.now:
            self._give_up(intent, "it could not be sent in time")
            return False
        try:
            variables = self._resolve(intent)
            if variables is not None:
                self._send(intent, variables)
        except EmailSendError as error:
            self._failed(intent, error.message, for_good=error.permanent)
        except ConfigError as error:
            self._failed(intent, error.message, for_good=True)
        except ValueError as error:
            self._failed(intent, f"it cannot be written: {error}", for_good=True)
        except AuthBackendError as error:
            self._failed(intent, error.message)
        except Exception as error:  # noqa: BLE001  a transport of one's own may raise anything
            self._failed(intent, f"{type(error).__name__} while it was sent")
        else:
            self._done(intent)
            return variables is not None
        return False

    def _send(self, intent: Intent, variables: Mapping[str, object]) -> None:
        message = self._email.compose(
            template=intent.kind,
            to_email=intent.email,
            subject=intent.payload["subject"],
            variables=variables,
            message_id=intent.payload["message_id"],
        )
        self._email.deliver(message, intent.email)
        self._accepted[intent.id] = None

    def _done(self, intent: Intent) -> None:
        if not self._outbox.done(intent):
            _log.warning("%s: its lease was lost while it was sent", _name(intent))
        self._accepted.pop(intent.id, None)

    def _failed(self, intent: Intent, reason: str, *, for_good: bool = False) -> None:
        if for_good:
            self._give_up(intent, reason)
            return
        _log.warning("%s was not sent, attempt %d: %s", _name(intent), intent.attempts, reason)
        self._outbox.postpone(intent, _delay(intent.attempts), reason)

    def _give_up(self, intent: Intent, reason: str) -> None:
        _log.error("%s was given up: %s", _name(intent), reason)
        with self._outbox.engine.transaction():
            if self._outbox.give_up(intent, reason):
                details = {"mail_id": intent.id, "kind": intent.kind}
                self._events.record("mail_failed", FAILURE, reason=reason, details=details)


def _delay(attempts: int) -> timedelta:
    doubled = _FIRST_DELAY * (1 << min(attempts - 1, 10))
    return min(doubled, _LONGEST_DELAY) * _chance.uniform(*_JITTER)


def _name(intent: Intent) -> str:
    return f"mail {intent.kind} to {mask_email(intent.email)}"
