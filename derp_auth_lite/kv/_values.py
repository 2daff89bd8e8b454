"""What every store asks of its arguments, and how a counter is written."""

from __future__ import annotations

import math
import re

__all__ = ["check_bytes", "check_ttl", "parse_counter"]

_COUNTER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_LARGEST = 2**63 - 1


def check_bytes(*values: bytes) -> None:
    """Refuse a key or value that is not bytes: text would be another key in another encoding.

    Raises:
        TypeError: for anything that is not bytes.
    """
    for value in values:
        if not isinstance(value, bytes):
            raise TypeError(f"keys and values are bytes, not {type(value).__name__}")


def check_ttl(ttl: float | None) -> None:
    """Refuse a lifetime that is no number of seconds.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is infinite or not a number; a key without an end has ``None``.
    """
    if ttl is not None and not math.isfinite(ttl):
        raise ValueError(f"a lifetime is a finite number of seconds or None, not {ttl}")


def parse_counter(value: bytes) -> int:
    """Read a counter that can still be added to: a decimal of 64 bits, as Redis writes them.

    Raises:
        ValueError: if *value* is no counter, or one that is full.
    """
    if not _COUNTER.fullmatch(value):
        raise ValueError("the value is not a counter")
    count = int(value)
    if not -_LARGEST - 1 <= count < _LARGEST:
        raise ValueError("the counter is out of range")
    return count
