"""Ending sessions at the service, which takes an access token of the session for it."""

from __future__ import annotations

import logging
from typing import Literal

from ..exceptions import AuthBackendError, ConfigError
from . import errors
from .api import GoTrue

__all__ = ["Logout"]

_log = logging.getLogger(__name__)

Scope = Literal["local", "global"]


class Logout:
    """Ends the session of an access token (``local``), or all of its user (``global``)."""

    def __init__(self, api: GoTrue) -> None:
        self._api = api

    def end(self, access_token: str, scope: Scope = "local") -> None:
        """End what *scope* says; what has ended already is fine.

        Raises:
            NotTakenError: The service does not take the token.
        """
        try:
            self._api.as_user("POST", "/logout", access_token, errors=errors.LOGOUT, scope=scope)
        except errors.SignedOutError:
            _log.debug("the session had ended at Supabase already")

    def end_by_secret(self, access_token: str, scope: Scope) -> None:
        """End what *scope* says with a token that the legacy secret signed.

        Raises:
            ConfigError: The project does not take the legacy secret.
        """
        try:
            self.end(access_token, scope)
        except errors.NotTakenError as error:
            raise ConfigError(
                "Supabase does not take what SupabaseConfig.jwt_secret signs: set it anew, or to "
                "nothing"
            ) from error

    def abandon(self, access_token: str) -> None:
        """End the session that a redeemed link began, whose tokens are given to nobody."""
        try:
            self.end(access_token)
        except AuthBackendError:
            _log.warning("a session that nobody uses could not be ended at Supabase")
