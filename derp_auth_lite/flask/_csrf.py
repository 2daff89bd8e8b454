"""Guards of requests that a browser sends by itself with its cookie (OWASP CSRF cheat sheet)."""

from __future__ import annotations

import hmac
from collections.abc import Collection
from urllib.parse import urlsplit

from flask import Request

__all__ = ["FIELD", "SAFE_METHODS", "comes_from_elsewhere", "form_token", "is_form_token"]

FIELD = "csrf_token"
"""The name of the field that a form sends its token in."""

_PURPOSE = b"derp_auth_lite form"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


def comes_from_elsewhere(
    request: Request, trusted: Collection[str], *, has_token: bool = False
) -> bool:
    """Tell whether another site had the browser send a request that may change something.

    ``Sec-Fetch-Site`` decides where the browser sends it, else ``Origin``, else ``Referer``. What
    has none of them was not sent by a browser of the last years, and so by nobody's page.

    Args:
        trusted: Origins such as ``https://app.example.com`` that may do so.
        has_token: A token of the form's will be checked. Then a hidden origin is no refusal: it is
            what a page without referrer sends where there is no ``Sec-Fetch-Site``.
    """
    origin = request.headers.get("Origin")
    if origin is not None and origin in trusted:
        return False
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    if origin == "null" and has_token:
        return False
    source = origin if origin is not None else request.headers.get("Referer")
    return source is not None and _host_of(source) != request.host.lower()


def form_token(cookie: str) -> str:
    """Return the token for the forms of a browser with this cookie.

    The cookie is a secret that other sites cannot read, and so is a good key: the token follows
    from it, needs no secret of the application's, and does not give it away.
    """
    return hmac.digest(cookie.encode(), _PURPOSE, "sha256").hex()


def is_form_token(token: object, cookie: str | None) -> bool:
    """Tell, in constant time, whether *token* is that of a browser with this cookie."""
    if cookie is None or not isinstance(token, str) or not token.isascii():
        return False
    return hmac.compare_digest(form_token(cookie), token)


def _host_of(url: str) -> str | None:
    """Return host and port as the ``Host`` header has them; ``null`` has none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts.netloc.lower() if parts.scheme in ("http", "https") else None
