"""Links in mails of our own: the service makes each code when its mail is sent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from .._keys import KeyRing
from .._local.mailbox import CONFIRMATION, MAGIC_LINK, RECOVERY
from .._local.outbox import Intent
from .._mail.links import link_with_token
from ..exceptions import AuthBackendError, InvalidEmailError
from . import links
from .accounts import Accounts
from .api import WorkOS, as_key
from .errors import MAGIC_AUTH, RECOVER, USER, NoSuchLinkError

__all__ = ["CodeMail"]

_LIFETIMES = {
    CONFIRMATION: timedelta(minutes=10),
    MAGIC_LINK: timedelta(minutes=10),
    RECOVERY: timedelta(hours=1),
}


class CodeMail:
    """Resolves intents."""

    def __init__(self, api: WorkOS, accounts: Accounts, keys: KeyRing) -> None:
        self._api = api
        self._accounts = accounts
        self._keys = keys

    def __call__(self, intent: Intent) -> Mapping[str, object] | None:
        """Return the variables of a mail; ``None`` where nobody is to get it.

        Raises:
            AuthBackendError: The service failed.
        """
        makers = {
            CONFIRMATION: self._confirmation,
            MAGIC_LINK: self._magic_link,
            RECOVERY: self._recovery,
        }
        try:
            token = makers[intent.kind](intent)
        except (NoSuchLinkError, InvalidEmailError):
            return None
        if token is None:
            return None
        return {
            **intent.payload["variables"],
            "url": link_with_token(intent.payload["base_url"], token),
            "expires_in": _LIFETIMES[intent.kind],
        }

    def _magic_link(self, intent: Intent) -> str | None:
        code = self._accounts.ask("/magic_auth", {"email": intent.email}, errors=MAGIC_AUTH)
        return links.join(links.ENTER, intent.email, _text(code, "code"))

    def _recovery(self, intent: Intent) -> str | None:
        reset = self._accounts.ask("/password_reset", {"email": intent.email}, errors=RECOVER)
        token = _text(reset, "password_reset_token", "token")
        return links.bind(self._keys, intent.email, token)

    def _confirmation(self, intent: Intent) -> str | None:
        """Return the code that the sign-up asked for, or have another made.

        WorkOS shows a code to who knows its id. Where only the mail has it, that mail has to do.
        """
        known = intent.payload["about"].get("email_verification_id")
        if known is not None:
            path = f"/user_management/email_verification/{as_key(known, NoSuchLinkError)}"
            made = self._api.get(path, errors={**USER, "404": lambda _: NoSuchLinkError()})
            return links.join(links.CONFIRM, _text(made, "user_id"), _text(made, "code"))
        user = self._accounts.by_email(intent.email)
        if user is None or user.get("email_verified") is True:
            return None
        made = self._accounts.send_confirmation(str(user.get("id")))
        code = made.get("code")
        return links.join(links.CONFIRM, str(user["id"]), code) if isinstance(code, str) else None


def _text(data: Mapping[str, Any], *names: str) -> str:
    found = next((data[name] for name in names if isinstance(data.get(name), str)), "")
    if not found:
        raise AuthBackendError("WorkOS answered without the code of a link")
    return found
