"""Mails on their way: the outbox that keeps them, and the thread that sends from it.

A request writes down what was asked for and looks nothing up; whom a mail is for, and its link, is
found out when it is sent, so that neither time nor an error tells a stranger who has an account
(OWASP ASVS 5.0, 6.3.8).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from .._mail.links import check_link
from ..email import EmailClient
from .delivery import Delivery, Resolve
from .events import Events
from .mail_worker import DRAIN_SECONDS, MailWorker
from .outbox import Outbox
from .throttle import Throttle

__all__ = ["CONFIRMATION", "HOSTED_LIFETIMES", "MAGIC_LINK", "RECOVERY", "Mailbox"]

CONFIRMATION = "confirmation"
MAGIC_LINK = "magic_link"
RECOVERY = "recovery"

HOSTED_LIFETIMES = {
    CONFIRMATION: timedelta(hours=24),
    MAGIC_LINK: timedelta(minutes=10),
    RECOVERY: timedelta(hours=4),  # an hour without a mail server loses none
}
"""For how long a mail is worth sending whose link a hosted service makes."""

_SUBJECTS = {CONFIRMATION: "Confirm your email address", RECOVERY: "Reset your password"}
"""The interface's defaults, which are the subjects of the shipped templates too."""


class Mailbox:
    """Takes mails, and sends them in a thread.

    Args:
        resolve: Finds out whom a mail is for, and makes its link.
        automatic: ``False`` leaves all sending to :meth:`deliver`.
    """

    def __init__(
        self,
        outbox: Outbox,
        events: Events,
        email: EmailClient,
        resolve: Resolve,
        *,
        automatic: bool = True,
    ) -> None:
        self._outbox = outbox
        self._email = email
        self._automatic = automatic
        self._delivery = Delivery(outbox, events, email, resolve)
        self._worker = MailWorker(self._delivery, automatic=automatic)

    def post(
        self,
        kind: str,
        email: str,
        url: str | None = None,
        *,
        subject: str | None = None,
        variables: Mapping[str, Any] | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """Take a mail, to be sent after the commit.

        Args:
            email: To whom, a normalised address.
            url: The page that the mail links to, if it has a link.
            subject: In place of the mail's own; the interface's default gives way to the template.
            about: What the resolver has to know.

        Raises:
            TypeError: A variable has a name of the library's own, or is no JSON.
            ValueError: *url* is no link that a mail may hold.
        """
        self._outbox.add(
            kind,
            email,
            message_id=self._email.new_message_id(),
            base_url=url,
            subject=None if subject == _SUBJECTS.get(kind) else subject,
            variables=variables,
            about=about,
        )
        self._outbox.engine.after_commit(self.wake)

    def post_within(
        self,
        limits: Throttle,
        kind: str,
        email: str,
        url: str,
        *,
        subject: str | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        """Take a mail as :meth:`post` does, or drop one too many, of which nobody is told."""
        check_link(url)  # whether or not the mail is dropped
        if limits.may_mail(kind, email):
            self.post(kind, email, url, subject=subject, variables=variables)

    def deliver(self, timeout: float | None = None) -> int:
        """Send what waits, now and in the caller's thread; return how many mails were taken."""
        self._outbox.engine.refuse_foreign_transaction()
        self._outbox.hurry()
        return self._delivery.send_due(None if timeout is None else time.monotonic() + timeout)

    def wake(self) -> None:
        """Have the outbox looked at soon."""
        self._worker.wake()

    def resume(self) -> None:
        """Begin with a thread of this connection, and with what an earlier one left."""
        self._worker.stop(0)
        self._worker = MailWorker(self._delivery, automatic=self._automatic)
        if self._outbox.next_due() is not None:
            self.wake()

    def stop(self, seconds: float = DRAIN_SECONDS) -> None:
        """Send what is due, for *seconds* at most, and end the thread."""
        self._worker.stop(seconds)
