"""The one place that calls WorkOS."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .._clock import Clock
from .._http import HTTPClient, HTTPResult, require_https
from .._request import UNKNOWN, Caller
from ..config import WorkOSConfig
from ..exceptions import AuthNotConnectedError
from .errors import Table, translator

__all__ = ["WorkOS", "as_key", "user_path"]

_RETRY = frozenset({429, 500, 502, 503, 504})
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


class WorkOS:
    """Calls the API of an environment with its key.

    Args:
        timeout: Seconds that a call may last in all.

    Raises:
        ConfigError: ``base_url`` is neither https nor on this machine.
    """

    def __init__(self, config: WorkOSConfig, *, clock: Clock, timeout: float) -> None:
        self.url = require_https(config.base_url, "base_url").rstrip("/")
        self.client_id = config.client_id
        self.http = HTTPClient(
            self.url,
            name="WorkOS",
            timeout=(min(5.0, timeout), min(10.0, timeout)),
            total_timeout=timeout,
            retry_statuses=_RETRY,
            clock=clock,
        )
        self._api_key = config.api_key
        self._open = False

    def connect(self) -> None:
        """Let calls through."""
        self._open = True

    def require_open(self) -> None:
        """Raise ``AuthNotConnectedError`` where no call would be let through."""
        if not self._open:
            raise AuthNotConnectedError

    def disconnect(self) -> None:
        """Close the connections; calls are refused until the next :meth:`connect`."""
        self._open = False
        self.http.close()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        errors: Table,
        about: str = "",
        params: Mapping[str, str | int] | None = None,
    ) -> HTTPResult:
        """Send one call; what only reads or writes whole values is repeated where it fails.

        Args:
            path: Ids in it went through :func:`as_key`.
            about: What the call is about, for the errors that name it.
        """
        self.require_open()
        return self.http.request(
            method,
            path,
            json=body,
            params=params,
            headers={"Authorization": f"Bearer {self._api_key}"},
            idempotent=method in {"GET", "PUT"},
            errors=translator(errors, about),
        )

    def get(self, path: str, *, errors: Table, **params: str | int) -> dict[str, Any]:
        """Return the object at *path*."""
        return self.call("GET", path, errors=errors, params=params).json_object()

    def post(self, path: str, body: Any, *, errors: Table, about: str = "") -> dict[str, Any]:
        """Return what the service made of *body*."""
        return self.call("POST", path, body, errors=errors, about=about).json_object()

    def put(self, path: str, body: Any, *, errors: Table, about: str = "") -> dict[str, Any]:
        """Return the object at *path* as it is after the change."""
        return self.call("PUT", path, body, errors=errors, about=about).json_object()

    def authenticate(
        self, grant: str, *, errors: Table, caller: Caller = UNKNOWN, **fields: str | None
    ) -> dict[str, Any]:
        """Return user and tokens for a grant; it is never repeated.

        Args:
            grant: Its type.
            **fields: Of the grant; ``None`` is left out.
        """
        fields |= {"ip_address": caller.ip_address, "user_agent": caller.user_agent}
        body = {
            "client_id": self.client_id,
            "client_secret": self._api_key,
            "grant_type": grant,
            **{name: value for name, value in fields.items() if value is not None},
        }
        return self.post("/user_management/authenticate", body, errors=errors)


def as_key(value: object, not_found: Callable[[], Exception]) -> str:
    """Return an id as text, which is one segment of a path and nothing else.

    The error of *not_found* where the service can have no such id: nothing must be sent then.
    """
    text = str(value)
    if not _ID.fullmatch(text):
        raise not_found()
    return text


def user_path(user_id: object, *more: str, not_found: Callable[[], Exception]) -> str:
    """Return the path of a user; the error of *not_found* where no user can have such an id."""
    return "/".join(("/user_management/users", as_key(user_id, not_found), *more))
