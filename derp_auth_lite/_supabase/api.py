"""The one place that calls Supabase Auth: which key a call carries, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._clock import Clock
from .._http import HTTPClient, HTTPResult
from ..config import SupabaseConfig
from ..exceptions import AuthNotConnectedError
from .errors import Table, translator

__all__ = ["GoTrue"]

_VERSION = {"X-Supabase-Api-Version": "2024-01-01"}
_MAX_BYTES = 8 * 1024 * 1024  # a page of users, with what they say of themselves
_RETRY = frozenset({429, 502, 503, 504, *range(520, 525), 530})


class GoTrue:
    """Calls ``{url}/auth/v1``; GoTrue is what Supabase Auth is made of.

    A legacy key is a JWT and goes into ``Authorization`` as well; a new one (``sb_…``) is none and
    goes into ``apikey`` alone.

    Args:
        timeout: Seconds that a call may last in all.
    """

    def __init__(self, config: SupabaseConfig, *, clock: Clock, timeout: float) -> None:
        self.url = f"{config.url.rstrip('/')}/auth/v1"
        self.http = HTTPClient(
            self.url,
            name="Supabase",
            timeout=(min(5.0, timeout), min(10.0, timeout)),
            total_timeout=timeout,
            max_bytes=_MAX_BYTES,
            retry_statuses=_RETRY,
            clock=clock,
        )
        self._public = {"apikey": config.anon_key}
        self._secret = {"apikey": config.service_role_key}
        if config.service_role_key.startswith("eyJ"):
            self._secret["Authorization"] = f"Bearer {config.service_role_key}"
        self._open = False

    def connect(self) -> None:
        """Let calls through."""
        self._open = True

    def disconnect(self) -> None:
        """Close the connections; calls are refused until the next :meth:`connect`."""
        self._open = False
        self.http.close()

    def public(
        self, path: str, body: Any = None, *, errors: Table, about: str = "", **params: str
    ) -> dict[str, Any]:
        """POST what anybody may; return the JSON object of the answer."""
        result = self._call("POST", path, self._public, body, errors, about, params)
        return result.json_object()

    def settings(self) -> dict[str, Any]:
        """Return what the project says of itself in public."""
        return self._call("GET", "/settings", self._public, None, {}, "", {}).json_object()

    def as_user(
        self,
        method: str,
        path: str,
        access_token: str,
        body: Any = None,
        *,
        errors: Table,
        **params: str,
    ) -> HTTPResult:
        """Call as the user whose access token this is."""
        headers = {**self._public, "Authorization": f"Bearer {access_token}"}
        return self._call(method, path, headers, body, errors, "", params)

    def admin(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        errors: Table,
        about: str = "",
        versioned: bool = True,
        **params: str,
    ) -> HTTPResult:
        """Call with the secret key.

        Args:
            versioned: Ask for the newer form of errors. A unique key that does not hold is told by
                the older one alone.
        """
        return self._call(
            method, path, self._secret, body, errors, about, params, versioned=versioned
        )

    def _call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Any,
        errors: Table,
        about: str,
        params: Mapping[str, str],
        *,
        versioned: bool = True,
    ) -> HTTPResult:
        if not self._open:
            raise AuthNotConnectedError
        return self.http.request(
            method,
            path,
            params=params,
            json=body,
            headers={**headers, **(_VERSION if versioned else {})},
            errors=translator(errors, about),
        )
