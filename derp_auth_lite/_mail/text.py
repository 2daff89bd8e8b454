"""Words, names and lines as mails need them."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from datetime import timedelta

__all__ = ["greeting_name", "in_words", "whole_minutes", "wrapped"]

_WIDTH = 72
_NAME_LIMIT = 40


def in_words(lifetime: timedelta) -> str:
    """Return a span of time in words: ``24 hours``, ``1 hour and 30 minutes``, ``2 days``.

    Rounded down, so that a mail never promises more than there is.
    """
    minutes = whole_minutes(lifetime)
    if minutes < 1:
        return "less than a minute"
    hours, rest = divmod(minutes, 60)
    days, left = divmod(hours, 24)
    if days > 1:
        return _joined(_count(days, "day"), _count(left, "hour") if left else "")
    return _joined(_count(hours, "hour") if hours else "", _count(rest, "minute") if rest else "")


def whole_minutes(lifetime: timedelta) -> int:
    """Return the number of whole minutes in *lifetime*, at least 0."""
    return max(0, lifetime // timedelta(minutes=1))


def greeting_name(name: object) -> str:
    """Return *name* if it looks like one, else an empty text.

    Whoever signs a stranger's address up also chooses the name that the stranger's mail greets: a
    name that holds an address, a number or a sentence would make our mail carry theirs.
    """
    text = name.strip() if isinstance(name, str) else ""
    return text if len(text) <= _NAME_LIMIT and all(map(_in_a_name, text)) else ""


def wrapped(text: str) -> str:
    """Return *text* with lines of at most 72 characters, broken between words only.

    A line that is a link stays whole, and no more than one empty line follows another.
    """
    lines = [part for line in text.strip().splitlines() for part in _wrapped_line(line.rstrip())]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def _joined(first: str, second: str) -> str:
    return " and ".join(part for part in (first, second) if part)


def _in_a_name(character: str) -> bool:
    return unicodedata.category(character)[0] in "LM" or character in " '\u2019-"


def _wrapped_line(line: str) -> list[str]:
    if len(line) <= _WIDTH:
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.wrap(
        line, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
