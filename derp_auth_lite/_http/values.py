"""What enters and leaves a request as text: ids, addresses, dates and JSON, each checked once."""

from __future__ import annotations

import email.utils
import ipaddress
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from .._clock import Clock, utc_now
from ..exceptions import ConfigError

__all__ = ["parse_json", "quote_id", "require_https", "retry_after", "whole_number"]

_MAX_ID = 256
_LONGEST_WAIT = 7 * 24 * 3600.0
_MOST_DIGITS = 18


def quote_id(value: object, not_found: Callable[[], Exception] | None = None) -> str:
    """Quote an id so that it is exactly one segment of a path.

    Args:
        value: A string or a UUID, possibly a stranger's.
        not_found: Makes the error for an id that no service can have; a class of error will do.

    Raises:
        ValueError: (or what *not_found* makes) The id is empty, ``.`` or ``..`` (clients and
            servers fold those away, quoted or not), has a slash, a backslash or a control
            character, or is longer than 256 characters. Nothing must be sent then.
    """
    text = str(value)
    if (
        text in ("", ".", "..")
        or len(text) > _MAX_ID
        or "/" in text
        or "\\" in text
        or not text.isprintable()
    ):
        raise not_found() if not_found else ValueError("not an id that a path can carry")
    return quote(text, safe="")


def require_https(url: str, what: str) -> str:
    """Return *url* if it is https, or http on this machine's loopback (RFC 8252, 7.3).

    Raises:
        ConfigError: It is neither, or carries a user, a password or a fragment.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        fine = bool(host) and parts.port != 0 and not (parts.username or parts.password)
    except ValueError:
        fine, parts, host = False, urlsplit(""), ""
    fine = fine and not parts.fragment and url.isascii() and url.isprintable() and " " not in url
    if fine and (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))):
        return url
    raise ConfigError(f"{what} must be an https URL (http is taken for this machine only)")


def retry_after(headers: Mapping[str, str], clock: Clock = utc_now) -> float | None:
    """Read a ``Retry-After`` header (RFC 9110, 10.2.3): seconds from now, or ``None``.

    It is a week at the most, whatever the service says.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), _LONGEST_WAIT)
    try:
        moment: datetime = email.utils.parsedate_to_datetime(value)
        return min(max(0.0, (moment - clock()).total_seconds()), _LONGEST_WAIT)
    except (TypeError, ValueError, OverflowError):
        return None


def parse_json(body: bytes | str) -> Any:
    """Parse JSON strictly: UTF-8, no NaN, no lone surrogate, no absurd depth or number.

    Raises:
        ValueError: The text is not such JSON.
    """
    try:
        text = body if isinstance(body, str) else body.decode("utf-8-sig")
        data = json.loads(text, parse_constant=_refuse_constant)
        if "\\u" in text:
            json.dumps(data, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    except UnicodeError:
        raise ValueError("JSON is not valid Unicode") from None
    return data


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def whole_number(text: str) -> int | None:
    """Read a header's whole number; ``None`` for what is none, or too long to be meant."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
    return int(text) if is_number else None
