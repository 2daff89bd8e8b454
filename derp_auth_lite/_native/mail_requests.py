"""Mails about accounts: asked for within limits, and written down to be sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._local.events import Events
from .._local.mailbox import Mailbox
from .._local.throttle import Throttle
from .._records import UserRecord
from .._request import Caller
from ..exceptions import ConfigError
from ..orm import DatabaseEngine
from .mail import EMAIL_CHANGE
from .refusals import Refusals

__all__ = ["MailRequests"]


class MailRequests:
    """Takes requests for mails, and looks nothing up for them: time tells nothing.

    Args:
        mailbox: ``None`` where no mail can be sent.
        can_link: Whether there is a KV store, which a link needs.
    """

    def __init__(
        self,
        engine: DatabaseEngine,
        events: Events,
        throttle: Throttle,
        refusals: Refusals,
        mailbox: Mailbox | None,
        *,
        can_link: bool,
    ) -> None:
        self._engine = engine
        self._events = events
        self._throttle = throttle
        self._refusals = refusals
        self._mailbox = mailbox
        self._can_link = can_link

    def require(self, *, with_link: bool = True) -> Mailbox:
        """Return what takes mails.

        Raises:
            ConfigError: No mail can be sent, or none with a link.
        """
        if self._mailbox is None:
            raise ConfigError("No mail can be sent: pass email= to open_auth, or call set_email()")
        if with_link and not self._can_link:
            raise ConfigError("No link can be mailed: pass kv= to open_auth, or call set_kv()")
        return self._mailbox

    def request_link(
        self,
        kind: str,
        address: str,
        url: str,
        caller: Caller,
        subject: str | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        """Write down that somebody asked for a link, where that is within the limits.

        Raises:
            ConfigError: No link can be mailed.
            RateLimitedError: One too many for the range that asks.
        """
        mailbox = self.require()
        if not self._may_send(kind, address, caller):
            return
        hashed = self._throttle.address_hash(address)
        with self._engine.transaction():
            mailbox.post(kind, address, url, subject=subject, variables=variables)
            self._events.record(f"{kind}_requested", address_hash=hashed, caller=caller)

    def request_change(
        self,
        user: UserRecord,
        address: str,
        url: str,
        caller: Caller,
        subject: str | None,
        variables: Mapping[str, Any],
    ) -> None:
        """Write down that a user asked for a link to a new address; raises as the above."""
        if not self._may_send(EMAIL_CHANGE, address, caller, user_id=user.id):
            return
        about = {"user_id": str(user.id), "stamp": user.token_stamp}
        with self._engine.transaction():
            self.require().post(
                EMAIL_CHANGE, address, url, subject=subject, variables=variables, about=about
            )
            self._events.record("email_change_requested", user_id=user.id, caller=caller)

    def notify(self, kind: str, user: UserRecord, **about: Any) -> None:
        """Tell a user what happened to the account, where mail can be sent."""
        if self._mailbox is not None:
            self._mailbox.post(kind, user.email, about={"first_name": user.first_name, **about})

    def _may_send(self, kind: str, address: str, caller: Caller, *, user_id: Any = None) -> bool:
        """Count a mail; one too many of its kind is dropped, of which nobody is told."""
        self._throttle.mail(caller)
        if self._throttle.may_mail(kind, address):
            return True
        self._refusals.record(
            f"{kind}_requested", "throttled", caller, user_id=user_id, address=address
        )
        return False
