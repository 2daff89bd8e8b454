"""Where to go after signing in: a place of this application, and never another site."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

__all__ = ["safe_next"]

_LONGEST = 2048
# Browsers drop tabs and line ends, trim controls and spaces, and read a backslash as a slash.
_MISREAD = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ud800-\udfff]")


def safe_next(target: object, default: str = "/") -> str:
    r"""Return *target* where it is a path of this site, else *default*.

    Only what begins with one slash is a path. ``//evil``, ``/\evil``, ``https:evil``, and anything
    with a backslash, a space or a control character are not, since browsers make other sites of
    them (CVE-2023-49438).
    """
    if not isinstance(target, str) or len(target) > _LONGEST or _MISREAD.search(target):
        return default
    if not target.startswith("/") or target.startswith("//"):
        return default
    try:
        parts = urlsplit(target)
    except ValueError:
        return default
    return default if parts.scheme or parts.netloc else target
