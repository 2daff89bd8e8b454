"""The range protocol of Have I Been Pwned: whether a password is known, without telling it."""

from __future__ import annotations

import hashlib
import re

from .text import normalize

__all__ = ["HaveIBeenPwned"]

_PREFIX = 5


class HaveIBeenPwned:
    """Asks a server with the range protocol of Pwned Passwords whether a password was breached.

    The server learns the first five of forty hexadecimal characters of the password's SHA-1, which
    some hundred known passwords share, and answers with the rest of each. Answers are padded, so
    that their length tells a listener nothing either.

    Args:
        range_url: What the five characters are appended to; https, or http on this machine.
        timeout: Seconds that a call may last in all.

    Raises:
        ConfigError: *range_url* cannot be used.
    """

    def __init__(
        self, range_url: str = "https://api.pwnedpasswords.com/range/", *, timeout: float = 2.0
    ) -> None:
        from .._http import (
            HTTPClient,
            require_https,
        )  # late: 10 ms, and this check is off by default

        self._http = HTTPClient(
            require_https(range_url, "range_url"),
            headers={"Accept": "text/plain", "Add-Padding": "true"},
            timeout=(timeout, timeout),
            total_timeout=timeout,
            retries=0,
            name="The breached-password service",
            parse=bytes.decode,
            log_paths=False,
        )

    def close(self) -> None:
        """Close the kept connection; the next call opens a new one."""
        self._http.close()

    def __call__(self, password: str) -> bool:
        """Tell whether *password* occurs in a known breach.

        Raises:
            AuthBackendError: No usable answer in time.
        """
        digest = hashlib.sha1(normalize(password).encode(), usedforsecurity=False).hexdigest()
        prefix, rest = digest[:_PREFIX].upper(), digest[_PREFIX:].upper()
        answer = self._http.request("GET", f"/{prefix}").data or ""
        # A line is the rest, a colon, and how often it was seen; padding was seen 0 times.
        return re.search(rf"^{rest}:0*[1-9]", answer, re.MULTILINE | re.IGNORECASE) is not None
