"""Links that carry a one-time token."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode, urlsplit

__all__ = ["check_link", "link_with_token", "token_in"]

_WEB = ("http", "https")
# What a browser or a mail program runs, opens locally or hands to itself instead of following.
_NEVER = frozenset(
    {
        *("about", "blob", "cid", "data", "feed", "file", "filesystem", "ftp", "intent", "jar"),
        *("javascript", "mailto", "mhtml", "mid", "ms-its", "resource", "sms", "smb", "tel"),
        *("vbscript", "view-source", "ws", "wss"),
    }
)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII)
# Spaces and controls, invisible and direction-turning characters, and what quotes or ends a link.
_UNSAFE = re.compile(
    r"[\x00-\x20\x7f-\xa0\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff<>\"\\^`{|}]"
)


def check_link(url: str) -> str:
    r"""Return *url* if a mail may link to it.

    Allowed are http and https with a host, and an application's own scheme (``myapp://confirm``)
    for programs that register one. Spaces, controls and backslashes are refused: browsers read
    them in ways of their own (``https:/\evil``).

    Raises:
        ValueError: It is no such link. The message never holds the link, which may carry a token.
    """
    if _UNSAFE.search(url):
        raise ValueError("A link must be text without spaces, controls, quotes or backslashes")
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        raise ValueError("The link's host or port cannot be read") from None
    if parts.scheme in _NEVER or not _SCHEME.fullmatch(parts.scheme):
        raise ValueError("A link must begin with http, https or an application's own scheme")
    if parts.scheme in _WEB and not host:
        raise ValueError("A web link needs a host")
    if not url[len(parts.scheme) :].startswith("://"):
        raise ValueError("A link must be absolute: scheme://…")
    if parts.username is not None or parts.password is not None:
        raise ValueError("A link must not hold a user name or a password")
    return url


def link_with_token(base_url: str, token: str) -> str:
    """Return *base_url* with the query parameter ``token``; query and fragment stay as they are.

    A ``token`` that is there already is replaced.

    Raises:
        ValueError: *base_url* is no link that a mail may hold (see :func:`check_link`).
    """
    address, hash_sign, fragment = check_link(base_url).partition("#")
    place, _, query = address.partition("?")
    kept = [pair for pair in query.split("&") if pair and not _is_token(pair)]
    query = "&".join([*kept, urlencode({"token": token})])
    return f"{place}?{query}{hash_sign}{fragment}"


def token_in(url: str) -> str | None:
    """Return the ``token`` parameter of a link, or None."""
    return dict(parse_qsl(urlsplit(url).query)).get("token")


def _is_token(pair: str) -> bool:
    return any(name == "token" for name, _ in parse_qsl(pair, keep_blank_values=True))
