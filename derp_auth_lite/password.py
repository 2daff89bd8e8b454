"""Passwords: hashing with Argon2id, and what a new password must be."""

from __future__ import annotations

import abc
import logging
import re
import secrets
import unicodedata
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from ._passwords import is_common
from .config import PasswordConfig
from .exceptions import AuthBackendError, PasswordValidationError

if TYPE_CHECKING:
    import argon2

__all__ = [
    "Argon2Hasher",
    "HashProfile",
    "PasswordHasher",
    "PasswordValidationResult",
    "check_password",
    "validate_password",
]

logger = logging.getLogger(__name__)

HashProfile = Literal["rfc9106_low_memory", "owasp_minimum", "cheapest"]

_MAX_CHARACTERS = 4096
_SALT_BYTES = 16
_HASH_BYTES = 32
_MAX_MEMORY_KIB = 2**21
_HASH = re.compile(
    r"\$argon2(?:id|i|d)\$v=19\$m=(\d{1,7}),t=\d{1,2},p=\d{1,2}\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+"
)


@dataclass(frozen=True, slots=True)
class _Cost:
    time: int
    memory_kib: int
    lanes: int


_COSTS: dict[HashProfile, _Cost] = {
    # RFC 9106, section 4, second recommended option; OWASP ASVS 5.0, 11.4.2.
    "rfc9106_low_memory": _Cost(time=3, memory_kib=64 * 1024, lanes=4),
    # OWASP Password Storage Cheat Sheet, the least that it recommends for Argon2id.
    "owasp_minimum": _Cost(time=2, memory_kib=19 * 1024, lanes=1),
    "cheapest": _Cost(time=1, memory_kib=8, lanes=1),
}


class PasswordHasher(abc.ABC):
    """Turns passwords into hashes that tell nothing about them, and compares."""

    @abc.abstractmethod
    def hash(self, password: str) -> str:
        """Return a salted hash of *password*, with everything that is needed to verify it.

        Raises:
            PasswordValidationError: Text that cannot be a password (see :func:`validate_password`).
            AuthBackendError: The hash could not be computed.
        """

    @abc.abstractmethod
    def verify(self, password: str, hashed: str) -> bool:
        """Tell whether *hashed* was made from *password*. Never raises.

        Takes as long for a hash that is damaged or of another kind as for a wrong password.
        """

    @abc.abstractmethod
    def needs_rehash(self, hashed: str) -> bool:
        """Tell whether *hashed* was made with other parameters than a new hash would be."""

    @abc.abstractmethod
    def unmatchable(self) -> str:
        """Return a hash with the present parameters that no password matches, at no cost."""

    def verify_or_dummy(self, password: str, hashed: str | None) -> bool:
        """Verify as :meth:`verify` does; without a hash take as long, and return ``False``.

        So the time of a sign-in does not tell whether an account exists or has a password (OWASP
        ASVS 5.0, 6.3.8).
        """
        return self.verify(password, hashed or self.unmatchable())


class Argon2Hasher(PasswordHasher):
    """Argon2id (RFC 9106).

    Passwords are normalised to NFC (NIST SP 800-63B-4, section 3.1.1.2), so that it does not matter
    how a keyboard composes an accent; they are not stripped, cut or case-folded. Every
    :meth:`verify` runs Argon2 once, whatever it is given.

    Args:
        profile: ``"rfc9106_low_memory"`` (64 MiB, 3 passes, 4 lanes), ``"owasp_minimum"`` (19 MiB,
            2 passes, 1 lane), or ``"cheapest"`` (8 KiB), which is for tests only.
    """

    def __init__(self, profile: HashProfile = "rfc9106_low_memory") -> None:
        self._cost = _COSTS[profile]

    def hash(self, password: str) -> str:
        """See :meth:`PasswordHasher.hash`."""
        secret = _to_bytes(password)
        if secret is None:
            raise PasswordValidationError(
                f"The password must be text of at most {_MAX_CHARACTERS} characters without"
                " control characters"
            )
        try:
            return self._argon2.hash(secret)
        except Exception as error:  # argon2-cffi lets MemoryError and OSError through too
            raise AuthBackendError("The password could not be hashed") from error

    def verify(self, password: str, hashed: str) -> bool:
        """See :meth:`PasswordHasher.verify`."""
        secret = _to_bytes(password)
        if secret is None:
            self._run(b"", self.unmatchable())
            return False
        matches = self._run(secret, hashed) if _is_plausible(hashed) else None
        if matches is None:
            logger.error("a stored password hash is damaged or of another kind")
            self._run(secret, self.unmatchable())
            return False
        return matches

    def needs_rehash(self, hashed: str) -> bool:
        """See :meth:`PasswordHasher.needs_rehash`; a damaged hash: ``True``."""
        return not _is_plausible(hashed) or self._argon2.check_needs_rehash(hashed)

    def unmatchable(self) -> str:
        """See :meth:`PasswordHasher.unmatchable`."""
        cost = self._cost
        salt, digest = _random_base64(_SALT_BYTES), _random_base64(_HASH_BYTES)
        parameters = f"m={cost.memory_kib},t={cost.time},p={cost.lanes}"
        return f"$argon2id$v=19${parameters}${salt}${digest}"

    def _run(self, secret: bytes, hashed: str) -> bool | None:
        """Run Argon2 once; ``None`` if it did not run to its end."""
        from argon2.exceptions import VerifyMismatchError

        try:
            return self._argon2.verify(hashed, secret)
        except VerifyMismatchError:
            return False
        except Exception:  # a failing KDF refuses, whatever it was (OWASP ASVS 5.0, 11.2.5)
            logger.exception("argon2 failed")
            return None

    @cached_property
    def _argon2(self) -> argon2.PasswordHasher:
        import argon2  # 18 ms to import

        return argon2.PasswordHasher(
            time_cost=self._cost.time,
            memory_cost=self._cost.memory_kib,
            parallelism=self._cost.lanes,
            hash_len=_HASH_BYTES,
            salt_len=_SALT_BYTES,
        )


@dataclass(frozen=True, slots=True)
class PasswordValidationResult:
    """Whether a password will do, and if not, a sentence for each reason."""

    valid: bool
    errors: tuple[str, ...]


def validate_password(
    config: PasswordConfig,
    password: str,
    *,
    context: Sequence[str] = (),
    breached: Callable[[str], bool] | None = None,
) -> PasswordValidationResult:
    """Hold a new password against the policy (NIST SP 800-63B-4, section 3.1.1.2).

    Args:
        context: Words that an attacker would try first: the address, names, the name of the site.
        breached: Tells whether a password is known from a breach. Asked last, and only where
            nothing else is wrong.
    """
    if _to_bytes(password) is None:
        return PasswordValidationResult(False, ("The password holds characters it cannot",))
    text = unicodedata.normalize("NFC", password)
    errors = [message for message, holds in _rules(config, text, context) if not holds]
    if not errors and breached is not None and breached(text):
        errors.append("The password is known from a data breach")
    return PasswordValidationResult(not errors, tuple(errors))


def check_password(
    config: PasswordConfig,
    password: str,
    *,
    context: Sequence[str] = (),
    breached: Callable[[str], bool] | None = None,
) -> None:
    """Raise unless :func:`validate_password` finds nothing.

    Raises:
        PasswordValidationError: The message holds a sentence for each reason.
    """
    result = validate_password(config, password, context=context, breached=breached)
    if not result.valid:
        raise PasswordValidationError("; ".join(result.errors))


def _rules(
    config: PasswordConfig, text: str, context: Sequence[str]
) -> list[tuple[str, bool]]:
    words = {word.casefold() for word in context}
    return [
        (f"The password must have at least {config.min_length} characters",
         len(text) >= config.min_length),
        (f"The password must have at most {config.max_length} characters",
         len(text) <= config.max_length),
        ("The password must not be blank", not text.isspace()),
        ("The password is one of the most common ones", not is_common(text)),
        ("The password must not be your name or address", text.casefold() not in words),
    ]


def _to_bytes(password: object) -> bytes | None:
    """Return the normalised password as UTF-8; ``None`` for what cannot be one."""
    if not isinstance(password, str) or len(password) > _MAX_CHARACTERS or "\0" in password:
        return None
    try:
        return unicodedata.normalize("NFC", password).encode()
    except UnicodeEncodeError:
        return None


def _is_plausible(hashed: str) -> bool:
    """Tell whether *hashed* has the form of an Argon2 hash whose cost is within reason."""
    match = _HASH.fullmatch(hashed)
    return match is not None and int(match[1]) <= _MAX_MEMORY_KIB


def _random_base64(length: int) -> str:
    return b64encode(secrets.token_bytes(length)).rstrip(b"=").decode()
