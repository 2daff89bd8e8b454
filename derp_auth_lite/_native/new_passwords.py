"""New passwords: held against the policy, then hashed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from .._local.events import FAILURE, Events
from ..config import PasswordConfig
from ..password import Breached, PasswordHasher, check_password

__all__ = ["NewPasswords"]

_log = logging.getLogger(__name__)

_NAMES = ("first_name", "last_name", "username")


class NewPasswords:
    """Hashes passwords that meet the policy.

    Args:
        breached: Tells whether a password is known from a breach.
        site: The site's name.
    """

    def __init__(
        self,
        policy: PasswordConfig,
        hasher: PasswordHasher,
        breached: Breached | None,
        events: Events,
        *,
        site: str | None,
    ) -> None:
        self._policy = policy
        self._hasher = hasher
        self._breached = breached
        self._events = events
        self._site = site

    def hash(self, password: str, email: str, profile: Mapping[str, Any]) -> str:
        """Hold a password against the policy, and hash it.

        Args:
            profile: The user's; none of its names is a password (OWASP ASVS 5.0, 6.2.11).

        Raises:
            PasswordValidationError: It does not meet the policy.
        """
        words = (email, self._site, *map(profile.get, _NAMES))
        check_password(
            self._policy,
            password,
            context=[word for word in words if word],
            breached=self._is_breached,
        )
        return self._hasher.hash(password)

    def _is_breached(self, password: str) -> bool:
        """Ask whether a password is known from a breach; one that nobody can tell of passes."""
        try:
            return self._breached is not None and self._breached(password)
        except Exception as error:  # noqa: BLE001  a check of the application's may raise anything
            # The kind alone: a message or a traceback could show what was asked.
            _log.warning("the breached-password check failed: %s", type(error).__name__)
            self._events.record("breached_check_failed", FAILURE, reason="no_answer")
            return False
