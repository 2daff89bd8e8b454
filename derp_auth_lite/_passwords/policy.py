"""The rules for a new password (NIST SP 800-63B-4, section 3.1.1.2)."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..config import PasswordConfig
from ..exceptions import PasswordValidationError
from .common import is_common
from .text import normalize, problem_of

__all__ = ["Breached", "PasswordValidationResult", "check_password", "validate_password"]

logger = logging.getLogger("derp_auth_lite.password")

Breached = Callable[[str], bool]
"""Tells whether a password is known from a breach. What it raises counts as "not known"."""

_MIN_WORD = 3


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
    breached: Breached | None = None,
) -> PasswordValidationResult:
    """Hold a new password against the policy. Lengths count code points of the NFC form.

    Args:
        context: What an attacker would try first: the address, names, the name of the site. A
            password is refused if it is one of these as a whole, a part of one (the local part of
            an address, one of several names), two of them together, or a trivial variant: other
            case and punctuation, backwards, with up to four digits before or after.
        breached: Asked last, and only if nothing else is wrong. If it fails, the password passes
            and a warning is logged.
    """
    errors = tuple(_errors(config, password, context))
    if not errors and breached is not None and _is_breached(breached, normalize(password)):
        errors = ("The password is known from a data breach: choose another",)
    return PasswordValidationResult(not errors, errors)


def check_password(
    config: PasswordConfig,
    password: str,
    *,
    context: Sequence[str] = (),
    breached: Breached | None = None,
) -> None:
    """Do what :func:`validate_password` does, and raise if the password will not do.

    Raises:
        PasswordValidationError: The message holds a sentence for each reason.
    """
    result = validate_password(config, password, context=context, breached=breached)
    if not result.valid:
        raise PasswordValidationError("; ".join(result.errors))


def _errors(config: PasswordConfig, password: str, context: Sequence[str]) -> Iterator[str]:
    problem = problem_of(password)
    if problem:
        yield problem
        return
    text = normalize(password)
    if len(text) < config.min_length:
        yield f"The password must have at least {config.min_length} characters"
    if len(text) > config.max_length:
        yield f"The password must have at most {config.max_length} characters"
    yield from (f"The password must contain {what}" for what in _missing(config, text))
    if all(unicodedata.category(character)[0] in "CZ" for character in text):
        yield "The password must not be blank"
    if is_common(text):
        yield "The password is one of the most common ones: choose another"
    if _is_made_from(text, context):
        yield "The password must not be made from your address, your name or the name of the site"


def _missing(config: PasswordConfig, text: str) -> Iterator[str]:
    if config.require_uppercase and not any(map(str.isupper, text)):
        yield "an uppercase letter"
    if config.require_lowercase and not any(map(str.islower, text)):
        yield "a lowercase letter"
    if config.require_digit and not any(map(str.isdecimal, text)):
        yield "a digit"
    if config.require_special and all(map(str.isalnum, text)):
        yield "a character that is neither a letter nor a digit"


def _is_made_from(text: str, context: Sequence[str]) -> bool:
    words = {form for word in _words(context) for form in (word, word[::-1])}
    return any(
        core in words or _is_pair(core, words) for core in _without_outer_digits(_bare(text))
    )


def _is_pair(text: str, words: set[str]) -> bool:
    cuts = range(_MIN_WORD, len(text) - _MIN_WORD + 1)
    return any(text[:cut] in words and text[cut:] in words for cut in cuts)


def _without_outer_digits(text: str) -> Iterator[str]:
    """Yield *text* without none to four of the digits at each of its ends."""
    before, after = (_count_digits(end) for end in (text[:4], text[:-5:-1]))
    for start in range(before + 1):
        for stop in range(len(text) - after, len(text) + 1):
            yield text[start:stop]


def _count_digits(text: str) -> int:
    return len(text) - len(text.lstrip("0123456789"))


def _words(context: Sequence[str]) -> set[str]:
    """Return each text of *context*, the two sides of an address, and their parts, all bare."""
    sides = [side for text in context for side in (text, *text.split("@"))]
    parts = [part for side in sides for part in (side, *re.split(r"[\W_]+", side))]
    return {word for word in map(_bare, parts) if len(word) >= _MIN_WORD}


def _bare(text: str) -> str:
    """Return the letters and digits of *text*, without regard to case."""
    return "".join(filter(str.isalnum, normalize(text).casefold()))


def _is_breached(breached: Breached, password: str) -> bool:
    try:
        return breached(password)
    except Exception as error:  # noqa: BLE001  a check that is down must not stop sign-ups
        # The kind alone: a message or a traceback could show what was asked.
        logger.warning("the breached-password check failed: %s", type(error).__name__)
        return False
