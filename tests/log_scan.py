"""Reads every line that the library logs while the tests run, and finds secrets in them.

The loggers of the library, and of what it sends HTTP with, are at DEBUG for the whole run. A test
in which one of them says a password, a token, a hash or a key fails (OWASP ASVS 5.0, 16.2.5).
"""

from __future__ import annotations

import functools
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import derp_auth_lite

__all__ = ["LogScan", "secrets_in"]

HERE = Path(__file__).parent
OUR_HTTP = str(Path(derp_auth_lite.__file__).parent / "_http")
LOGGERS = ("derp_auth_lite", "urllib3", "requests")

_KINDS = {
    "a JWT": r"eyJ[\w-]{6,}\.[\w-]*\.?",
    # One-time tokens, states, bindings, verifiers: 32 bytes; refresh tokens and cookies: 61.
    "a token": r"(?<![\w-])(?:[\w-]{43}|[\w-]{82})(?![\w-])",
    "a hash": r"\$(?:argon2|2[aby]\$|scrypt|pbkdf2)|(?:pbkdf2|scrypt|bcrypt)[\w:]*\$",
    "a link's token": r"[?&#](?:token|code|state|access_token|refresh_token)=[^&\s\"']{4}",
    "a header of credentials": r"(?:Bearer|Basic) [\w.=+/-]{8}|[Cc]ookie: \w",
    "a private key": r"PRIVATE KEY",
}
_PATTERN = re.compile("|".join(f"(?P<k{n}>{each})" for n, each in enumerate(_KINDS.values())))
_LITERAL = re.compile(
    r"""(?:password|secret|pass_phrase)\w*["']?\s*[=:]\s*f?["']([^"'\n{}\\]{8,})["']""",
    re.IGNORECASE,
)
_CALLS = re.compile(r"""sign_in_with_password\([^()\n]*,\s*["']([^"'\n{}\\]{8,})["']""")


@functools.cache
def literal_secrets() -> tuple[str, ...]:
    """Return the passwords and keys that stand in the source of the tests."""
    found: set[str] = set()
    for path in HERE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        found.update(_LITERAL.findall(text), _CALLS.findall(text))
    # Paths, names of variables and single words are no passwords that a log could give away.
    return tuple(sorted(text for text in found if text[0] not in "/$" and not text.isalpha()))


def secrets_in(text: str) -> Iterator[str]:
    """Yield what kind of secret is in *text*, for each kind."""
    for match in _PATTERN.finditer(text):
        yield list(_KINDS)[int(str(match.lastgroup)[1:])]
    if any(secret in text for secret in literal_secrets()):
        yield "a password or key of the tests"


def _is_ours() -> bool:
    """Tell whether the library sends, and not a browser of the tests."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_filename.startswith(OUR_HTTP):
            return True
    return False


class LogScan(logging.Handler):
    """A handler of the library's loggers, and the plugin that has their tests fail."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._plain = logging.Formatter()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Look at one record, its traceback included."""
        text = self._plain.format(record)
        kinds = sorted(set(secrets_in(text)))
        if kinds and (record.name.startswith(LOGGERS[0]) or _is_ours()):
            place = f"{record.name}:{record.lineno}"
            self.found.append(f"{place} logged {' and '.join(kinds)}: {text}")

    def pytest_sessionstart(self) -> None:
        for name in LOGGERS:
            logger = logging.getLogger(name)
            logger.setLevel(logging.DEBUG)
            logger.addHandler(self)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        result = yield
        found, self.found = self.found, []
        assert not found, "\n".join(found)
        return result
