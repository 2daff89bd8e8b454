"""What each mail of an account needs when it is sent: whom it is for, and the link in it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from .._local.outbox import Intent
from .._mail.links import link_with_token
from .._records import UserRecord
from ..config import NativeAuthConfig
from .accounts import Accounts
from .one_time import Claim, OneTimeTokens

__all__ = [
    "ACCOUNT_EXISTS",
    "CONFIRMATION",
    "EMAIL_CHANGE",
    "EMAIL_CHANGED",
    "MAGIC_LINK",
    "PASSWORD_CHANGED",
    "RECOVERY",
    "AccountMail",
    "link_lifetimes",
    "mail_lifetimes",
]

# Kinds of mail. Of those with a link it is the purpose of its token too, but for the first, whose
# link is one of recovery.
ACCOUNT_EXISTS = "account_exists"
CONFIRMATION = "confirmation"
EMAIL_CHANGE = "email_change"
MAGIC_LINK = "magic_link"
RECOVERY = "recovery"
EMAIL_CHANGED = "email_changed"
PASSWORD_CHANGED = "password_changed"

_RECOVERY = timedelta(hours=4)  # an hour without a mail server loses none
_NOTICE = timedelta(days=4)  # RFC 5321, section 4.5.4.1: the least that a sender should keep trying


def link_lifetimes(config: NativeAuthConfig) -> dict[str, timedelta]:
    """Return how long each kind of link lives, once it is sent."""
    confirmation = timedelta(hours=config.confirmation_token_expire_hours)
    recovery = timedelta(minutes=config.recovery_token_expire_minutes)
    return {
        ACCOUNT_EXISTS: recovery,
        CONFIRMATION: confirmation,
        EMAIL_CHANGE: confirmation,
        MAGIC_LINK: timedelta(minutes=config.magic_link_expire_minutes),
        RECOVERY: recovery,
    }


def mail_lifetimes(config: NativeAuthConfig) -> dict[str, timedelta]:
    """Return for how long each kind of mail is worth sending, after it was asked for."""
    links = link_lifetimes(config)
    return {
        **links,
        ACCOUNT_EXISTS: max(links[ACCOUNT_EXISTS], _RECOVERY),
        RECOVERY: max(links[RECOVERY], _RECOVERY),
        EMAIL_CHANGED: _NOTICE,
        PASSWORD_CHANGED: _NOTICE,
    }


class AccountMail:
    """Resolves intents: finds the account and makes the token, which is stored nowhere else."""

    def __init__(
        self, accounts: Accounts, one_time: OneTimeTokens, config: NativeAuthConfig
    ) -> None:
        self._accounts = accounts
        self._one_time = one_time
        self._lifetimes = link_lifetimes(config)
        self._sign_up = config.enable_signup

    def __call__(self, intent: Intent) -> Mapping[str, object] | None:
        """Return the variables of a mail; ``None`` where nobody is to get it.

        Raises:
            AuthBackendError: Database or KV store failed.
        """
        variables = dict(intent.payload["variables"])
        if intent.payload["base_url"] is None:
            return {**intent.payload["about"], **variables}
        user = self._user(intent)
        claim = self._claim(intent, user)
        if claim is None:
            return None
        lifetime = self._lifetimes[intent.kind]
        token = self._one_time.issue(claim, lifetime)
        link = {
            "url": link_with_token(intent.payload["base_url"], token),
            "expires_in": lifetime,
        }
        return {"first_name": user and user.first_name, **variables, **link}

    def _user(self, intent: Intent) -> UserRecord | None:
        if intent.kind == EMAIL_CHANGE:
            return self._accounts.by_id(intent.payload["about"]["user_id"])
        return self._accounts.by_email(intent.email)

    def _claim(self, intent: Intent, user: UserRecord | None) -> Claim | None:
        """Return what the link is to stand for, or ``None`` where there is to be none."""
        if user is None:
            may_join = intent.kind == MAGIC_LINK and self._sign_up
            return Claim(purpose=MAGIC_LINK, email=intent.email) if may_join else None
        if not user.is_active or not self._is_wanted(intent, user):
            return None
        return Claim(
            purpose=RECOVERY if intent.kind == ACCOUNT_EXISTS else intent.kind,
            email=user.email,
            user_id=str(user.id),
            stamp=user.token_stamp,
            new_email=intent.email if intent.kind == EMAIL_CHANGE else None,
        )

    def _is_wanted(self, intent: Intent, user: UserRecord) -> bool:
        if intent.kind == CONFIRMATION:
            return user.email_confirmed_at is None
        if intent.kind == EMAIL_CHANGE:
            # A reset while the mail waited voids the change too, as it voids links that are out.
            return bool(intent.payload["about"]["stamp"] == user.token_stamp)
        return True
