"""Mails of a backend whose accounts a hosted service keeps: the outbox, and what sends from it.

A request writes down what was asked for and looks nothing up; the service is asked for the link
when the mail is sent, so that neither time nor an error tells a stranger who has an account (OWASP
ASVS 5.0, 6.3.8).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from .._addresses import normalize_email
from ..email import EmailClient
from ..orm import DatabaseEngine
from .delivery import Delivery, Resolve
from .events import Events
from .mail_worker import DRAIN_SECONDS, MailWorker
from .outbox import Outbox

__all__ = ["CONFIRMATION", "MAGIC_LINK", "RECOVERY", "Mailbox"]

CONFIRMATION = "confirmation"
MAGIC_LINK = "magic_link"
RECOVERY = "recovery"

_LIFETIMES = {
    CONFIRMATION: timedelta(hours=24),
    MAGIC_LINK: timedelta(minutes=10),
    RECOVERY: timedelta(hours=4),  # an hour without a mail server loses none
}
_SUBJECTS = {CONFIRMATION: "Confirm your email address", RECOVERY: "Reset your password"}
"""The interface's defaults, which are the subjects of the shipped templates too."""


class Mailbox:
    """Takes mails, and sends them in a thread.

    Args:
        resolve: Asks the service for the link of a mail.
        automatic: ``False`` leaves all sending to :meth:`deliver`.
    """

    def __init__(
        self,
        db: DatabaseEngine,
        events: Events,
        email: EmailClient,
        resolve: Resolve,
        *,
        automatic: bool = True,
    ) -> None:
        self._db = db
        self._email = email
        self._outbox = Outbox(db, _LIFETIMES)
        self._delivery = Delivery(self._outbox, events, email, resolve)
        self._worker = MailWorker(self._delivery, automatic=automatic)

    def post(
        self,
        kind: str,
        email: str,
        url: str,
        *,
        subject: str | None = None,
        variables: Mapping[str, Any] | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """Take a mail, to be sent after the commit.

        Args:
            email: To whom.
            url: The page that the mail links to.
            subject: In place of the mail's own.
            about: What the resolver has to know.

        Raises:
            InvalidEmailError: *email* is no address.
            TypeError: A variable has a name of the library's own, or is no JSON.
            ValueError: *url* is no link that a mail may hold.
        """
        self._outbox.add(
            kind,
            normalize_email(email),
            message_id=self._email.new_message_id(),
            base_url=url,
            subject=None if subject == _SUBJECTS.get(kind) else subject,
            variables=variables,
            about=about,
        )
        self._db.after_commit(self._worker.wake)

    def deliver(self, timeout: float | None = None) -> int:
        """Send what waits, now and in the caller's thread; return how many mails were taken."""
        self._db.refuse_foreign_transaction()
        self._outbox.hurry()
        return self._delivery.send_due(None if timeout is None else time.monotonic() + timeout)

    def purge(self, limit: int) -> int:
        """Remove at most *limit* mails that were given up long ago; return how many."""
        return self._outbox.purge(limit)

    def resume(self) -> None:
        """Go on with what an earlier process left."""
        if self._outbox.next_due() is not None:
            self._worker.wake()

    def stop(self, seconds: float = DRAIN_SECONDS) -> None:
        """Send what is due, for *seconds* at most, and end the thread."""
        self._worker.stop(seconds)
