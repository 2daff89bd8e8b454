"""Links in mails of our own: the service makes each when its mail is sent, and sends none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .._local.mailbox import CONFIRMATION, MAGIC_LINK, RECOVERY
from .._local.outbox import Intent
from .._mail.links import link_with_token
from ..exceptions import AuthBackendError
from .api import GoTrue
from .errors import LINK, NoSuchLinkError

__all__ = ["LinkMail", "hashed_token"]

_TYPES = {CONFIRMATION: "signup", MAGIC_LINK: "magiclink", RECOVERY: "recovery"}


class LinkMail:
    """Resolves intents.

    Args:
        may_join: Tells whether the project lets new users sign up.
    """

    def __init__(self, api: GoTrue, may_join: Callable[[], bool]) -> None:
        self._api = api
        self._may_join = may_join

    def __call__(self, intent: Intent) -> Mapping[str, object] | None:
        """Return the variables of a mail; ``None`` where nobody is to get it.

        Raises:
            AuthBackendError: The service failed.
        """
        kind = intent.kind
        # A magic link for a stranger would make an account; a recovery link signs in as well.
        if kind == MAGIC_LINK and not self._may_join():
            kind = RECOVERY
        body = {"type": _TYPES[kind], "email": intent.email}
        try:
            link = self._api.admin("POST", "/admin/generate_link", body, errors=LINK)
        except NoSuchLinkError:
            return None
        data = link.json_object()
        url = link_with_token(intent.payload["base_url"], hashed_token(data))
        name = _first_name(data)
        return {"first_name": name, **intent.payload["variables"], "url": url}


def hashed_token(data: Mapping[str, Any]) -> str:
    """Return the token of a link.

    Raises:
        AuthBackendError: There is none.
    """
    token = data.get("hashed_token")
    if not isinstance(token, str) or not token:
        raise AuthBackendError("Supabase answered with something other than a link")
    return token


def _first_name(data: Mapping[str, Any]) -> str | None:
    own = data.get("user_metadata")
    name = own.get("first_name") if isinstance(own, dict) else None
    return name if isinstance(name, str) else None
