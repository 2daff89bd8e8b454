"""What a request tells about its sender: bearer token, user agent, network address."""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["UNKNOWN", "Caller", "bearer_token", "caller_of", "clean_address", "was_forwarded"]

_MAX_AGENT = 512
_MAX_FORWARDED = 2048
_REMEMBERED = 1024  # addresses: to parse one takes as long as to read a row
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


class Caller(NamedTuple):
    """Who sent a request, as far as the network knows."""

    user_agent: str | None = None
    ip_address: str | None = None


UNKNOWN = Caller()


def bearer_token(request: object) -> str | None:
    """Return the token of ``Authorization: Bearer …`` (RFC 6750), or ``None``; never raises."""
    value = _header(request, "Authorization")
    if value is None or value[:7].lower() != "bearer ":
        return None
    return value[7:].strip(" ") or None


def caller_of(
    request: object | None,
    user_agent: str | None = None,
    ip_address: str | None = None,
    *,
    trusted_proxies: int = 0,
) -> Caller:
    """Return agent and address; what is given wins over what *request* says.

    ``X-Forwarded-For`` counts only behind *trusted_proxies*, and then from the right: each trusted
    proxy appended the address that it saw, everything further left is the sender's own invention.
    """
    if request is not None:
        if user_agent is None:
            user_agent = _header(request, "User-Agent")
        if ip_address is None:
            ip_address = _forwarded(request, trusted_proxies) or _peer(request)
    return Caller(_clean_agent(user_agent), clean_address(ip_address))


def was_forwarded(request: object) -> bool:
    """Tell whether *request* says that it passed a proxy."""
    return _header(request, "X-Forwarded-For") is not None


def _header(request: object, name: str) -> str | None:
    """Return a header whatever the case of the mapping's keys, or ``None``."""
    headers = getattr(request, "headers", None)
    if headers is None:
        return None
    try:
        value = headers.get(name)
        if value is None and isinstance(headers, Mapping):
            wanted = name.lower()
            value = next(
                (v for k, v in headers.items() if isinstance(k, str) and k.lower() == wanted), None
            )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return value if isinstance(value, str) else None


def _forwarded(request: object, trusted_proxies: int) -> str | None:
    if trusted_proxies <= 0:
        return None
    value = _header(request, "X-Forwarded-For")
    if value is None:
        return None
    hops = value[-_MAX_FORWARDED:].split(",")
    return clean_address(hops[-trusted_proxies]) if len(hops) >= trusted_proxies else None


def _peer(request: object) -> str | None:
    """Return the address at the other end: ``.remote_addr`` (WSGI) or ``.client.host`` (ASGI)."""
    address: Any = getattr(request, "remote_addr", None)
    if address is None:
        address = getattr(getattr(request, "client", None), "host", None)
    return address if isinstance(address, str) else None


def clean_address(value: object) -> str | None:
    """Return an IP address in its usual form, without port or zone; ``None`` where it is none."""
    if not isinstance(value, str) or len(value) > 100:
        return None
    text = value.strip().split("%", 1)[0]
    if text.startswith("["):
        text = text[1:].split("]", 1)[0]
    elif text.count(":") == 1:
        text = text.split(":", 1)[0]
    return _usual_form(text)


@functools.lru_cache(maxsize=_REMEMBERED)
def _usual_form(text: str) -> str | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _clean_agent(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    return _UNPRINTABLE.sub(" ", value).strip()[:_MAX_AGENT] or None
