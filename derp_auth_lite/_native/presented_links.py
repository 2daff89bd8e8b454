"""Mailed links that somebody presents: read, redeemed by who asks, then forgotten."""

from __future__ import annotations

from dataclasses import dataclass

from .._local.throttle import Throttle
from .._records import UserRecord
from .._request import Caller
from ..exceptions import InvalidTokenError
from ..orm import DatabaseEngine
from .one_time import Claim, OneTimeTokens
from .refusals import Refusals

__all__ = ["PresentedLink", "PresentedLinks"]


@dataclass(frozen=True, repr=False)
class PresentedLink:
    """A one-time token, what it stands for, and who presents it to do what."""

    token: str
    claim: Claim
    action: str
    caller: Caller


class PresentedLinks:
    """Takes one-time tokens, within the limit of bad ones."""

    def __init__(
        self,
        engine: DatabaseEngine,
        one_time: OneTimeTokens,
        throttle: Throttle,
        refusals: Refusals,
    ) -> None:
        self._engine = engine
        self._one_time = one_time
        self._throttle = throttle
        self._refusals = refusals

    def read(self, purpose: str, token: str, action: str, caller: Caller) -> PresentedLink:
        """Return what a token stands for; that spends nothing.

        Raises:
            InvalidTokenError: It is unknown or expired.
            RateLimitedError: Too many bad ones from that range.
            RuntimeError: Called inside a transaction of the application.
        """
        self._engine.refuse_foreign_transaction()
        with self._throttle.redeeming(caller):
            claim = self._one_time.read(purpose, token)
            if claim is None:
                self._refusals.record(action, "unknown_token", caller)
                raise InvalidTokenError
        return PresentedLink(token, claim, action, caller)

    def spent(self, link: PresentedLink, user: UserRecord | None) -> UserRecord:
        """Forget a token that *user* has redeemed.

        Raises:
            InvalidTokenError: *user* is ``None``: somebody was faster, or the account changed.
        """
        if user is None:
            self._throttle.refused_token(link.caller)
            user_id = link.claim.user_id
            self._refusals.record(link.action, "spent_token", link.caller, user_id=user_id)
            raise InvalidTokenError
        self._one_time.forget(link.token)
        return user
