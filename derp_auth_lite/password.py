"""Passwords: hashing with Argon2id, and what a new password must be."""

from __future__ import annotations

import abc
import logging
import re
import secrets
from base64 import b64encode
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from ._passwords import foreign
from ._passwords.breached import HaveIBeenPwned
from ._passwords.policy import (
    Breached,
    PasswordValidationResult,
    check_password,
    validate_password,
)
from ._passwords.text import normalize, problem_of
from .exceptions import AuthBackendError, PasswordValidationError

if TYPE_CHECKING:
    import argon2

__all__ = [
    "Argon2Hasher",
    "Breached",
    "HashProfile",
    "HaveIBeenPwned",
    "PasswordHasher",
    "PasswordValidationResult",
    "check_password",
    "is_known_hash",
    "validate_password",
]

logger = logging.getLogger(__name__)

HashProfile = Literal["rfc9106_low_memory", "owasp_minimum", "cheapest"]
"""A named set of Argon2 parameters; see :class:`Argon2Hasher`."""

_SALT_BYTES = 16
_HASH_BYTES = 32
_MAX_MEMORY_KIB = 2 * 1024 * 1024
_MAX_WORK_KIB = 2 * _MAX_MEMORY_KIB
"""Memory times passes: twice the first recommended option of RFC 9106, some seconds."""

_HASH = re.compile(
    r"\$argon2(?:id|i|d)\$v=19\$m=([0-9]{1,7}),t=([0-9]{1,2}),p=[0-9]{1,2}"
    r"\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{16,86}"
)


@dataclass(frozen=True, slots=True)
class _Cost:
    passes: int
    memory_kib: int
    lanes: int


_COSTS: dict[HashProfile, _Cost] = {
    # The second recommended option of RFC 9106, section 4; OWASP ASVS 5.0, 11.4.2.
    "rfc9106_low_memory": _Cost(passes=3, memory_kib=64 * 1024, lanes=4),
    # The least that OWASP's Password Storage Cheat Sheet recommends for Argon2id.
    "owasp_minimum": _Cost(passes=2, memory_kib=19 * 1024, lanes=1),
    "cheapest": _Cost(passes=1, memory_kib=8, lanes=1),
}


class PasswordHasher(abc.ABC):
    """Turns passwords into hashes that give nothing away, and compares the two."""

    @abc.abstractmethod
    def hash(self, password: str) -> str:
        """Return a salted hash of *password*, with all that is needed to verify it.

        Raises:
            PasswordValidationError: What was given can be nobody's password.
            AuthBackendError: The hash could not be computed.
        """

    @abc.abstractmethod
    def verify(self, password: str, hashed: str) -> bool:
        """Tell whether *hashed* was made from *password*. Never raises.

        A hash that is damaged or of another kind takes as long as a wrong password.
        """

    @abc.abstractmethod
    def needs_rehash(self, hashed: str) -> bool:
        """Tell whether a new hash would be made with other parameters than *hashed* was."""

    @abc.abstractmethod
    def unmatchable(self) -> str:
        """Return a hash with the present parameters that no password matches; costs nothing."""

    def verify_or_dummy(self, password: str, hashed: str | None) -> bool:
        """Verify like :meth:`verify`; without a hash take as long, and return ``False``.

        So time does not tell whether an account exists or has a password (OWASP ASVS 5.0, 6.3.8).
        """
        return self.verify(password, self.unmatchable() if hashed is None else hashed)


class Argon2Hasher(PasswordHasher):
    """Argon2id (RFC 9106).

    A password is hashed in its NFC form and otherwise as it is: neither stripped nor cut nor
    case-folded. Every :meth:`verify` runs Argon2 once, on at most 4096 characters, whatever it is
    given; only a hash of another system is verified that system's way. Hashing lets other threads
    run.

    Args:
        profile: ``"rfc9106_low_memory"`` (64 MiB, 3 passes, 4 lanes), ``"owasp_minimum"`` (19 MiB,
            2 passes, 1 lane), or ``"cheapest"`` (8 KiB), which protects nothing and makes tests
            fast.
    """

    def __init__(self, profile: HashProfile = "rfc9106_low_memory") -> None:
        self._cost = _COSTS[profile]

    def hash(self, password: str) -> str:
        """Return a hash in the PHC string format, ``$argon2id$v=19$...``.

        Raises:
            PasswordValidationError: Not text, longer than 4096 characters, with a NUL or half of a
                surrogate pair.
            AuthBackendError: The hash could not be computed, for want of memory for example.
        """
        problem = problem_of(password)
        if problem:
            raise PasswordValidationError(problem)
        try:
            return self._argon2.hash(normalize(password))
        except Exception as error:
            raise AuthBackendError("The password could not be hashed") from error

    def verify(self, password: str, hashed: str) -> bool:
        """Tell whether *hashed* was made from *password*, after exactly one run of Argon2.

        A hash of another system is verified its own way instead, and costs what it costs there
        until the first sign-in renews it: see ``_passwords/foreign.py`` on what time then tells.
        Never raises: a failure is logged and refuses (OWASP ASVS 5.0, 11.2.5).
        """
        if problem_of(password):
            self._run("", self.unmatchable())
            return False
        password, hashed = foreign.unwrapped(password, hashed)
        if _is_plausible(hashed):
            matches = self._run(normalize(password), hashed)
        else:
            matches = foreign.matches(password, hashed)
        if matches is None:
            logger.error("a stored password hash is damaged or of another kind, or Argon2 failed")
            self._run("", self.unmatchable())
        return matches is True

    def needs_rehash(self, hashed: str) -> bool:
        """Tell whether *hashed* has other parameters than this profile's, or is damaged."""
        return not _is_plausible(hashed) or self._argon2.check_needs_rehash(hashed)

    def unmatchable(self) -> str:
        """Return a hash whose salt and digest are random: a password that fits is not known."""
        cost = self._cost
        parameters = f"m={cost.memory_kib},t={cost.passes},p={cost.lanes}"
        salt, digest = _random_base64(_SALT_BYTES), _random_base64(_HASH_BYTES)
        return f"$argon2id$v=19${parameters}${salt}${digest}"

    def _run(self, text: str, hashed: str) -> bool | None:
        """Run Argon2 once and compare; ``None`` if it could not run to its end."""
        from argon2.exceptions import VerifyMismatchError

        try:
            return self._argon2.verify(hashed, text)
        except VerifyMismatchError:
            return False
        except Exception as error:  # noqa: BLE001  whatever it is, it refuses
            logger.debug("argon2: %s", error)
            return None

    @cached_property
    def _argon2(self) -> argon2.PasswordHasher:
        import argon2  # late: 18 ms, and nothing but a sign-in or a new password needs it

        return argon2.PasswordHasher(
            time_cost=self._cost.passes,
            memory_cost=self._cost.memory_kib,
            parallelism=self._cost.lanes,
            hash_len=_HASH_BYTES,
            salt_len=_SALT_BYTES,
        )


def is_known_hash(hashed: str) -> bool:
    """Tell whether :class:`Argon2Hasher` can verify *hashed*: its own, or another system's."""
    _, within = foreign.unwrapped("", hashed)
    return _is_plausible(within) or foreign.is_foreign(within)


def _is_plausible(hashed: str) -> bool:
    """Tell whether *hashed* has the form of an Argon2 hash, at a cost within reason."""
    match = _HASH.fullmatch(hashed)
    if match is None:
        return False
    memory, passes = int(match[1]), int(match[2])
    return memory <= _MAX_MEMORY_KIB and memory * passes <= _MAX_WORK_KIB


def _random_base64(length: int) -> str:
    return b64encode(secrets.token_bytes(length)).rstrip(b"=").decode()
