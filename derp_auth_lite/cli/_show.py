"""How the tour puts calls and results on the screen."""

from __future__ import annotations

import dataclasses
import os
import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from ..email import SentMail

__all__ = ["Printer", "as_letter", "brief"]

WIDTH = 96
LONGEST = 44
"""Ids are shown whole; what is longer is a token, of which the beginning will do."""

COLOURS = {"title": "1", "call": "36", "result": "32", "refusal": "33", "failure": "31"}


class Printer:
    """Writes to a stream; in colours where that is a terminal and ``NO_COLOR`` is not set."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        # Old Windows consoles show colour codes as text.
        understood = os.name != "nt" or "WT_SESSION" in os.environ
        self._coloured = stream.isatty() and understood and not os.environ.get("NO_COLOR")

    def line(self, text: str = "", kind: str | None = None) -> None:
        """Write a line, in the colour of its kind."""
        if kind and self._coloured:
            text = f"\x1b[{COLOURS[kind]}m{text}\x1b[0m"
        self._stream.write(text + "\n")

    def block(self, text: str, kind: str | None = None, first: str = "    ") -> None:
        """Write a text that may take several lines, indented."""
        for line in textwrap.wrap(
            text,
            WIDTH,
            initial_indent=first,
            subsequent_indent="        ",
            break_long_words=False,
            break_on_hyphens=False,
        ):
            self.line(line, kind)

    def verbatim(self, text: str, kind: str | None = None) -> None:
        """Write a text line by line as it is, indented."""
        for line in text.splitlines():
            self.line(f"    | {line}".rstrip(), kind)


def as_letter(mail: SentMail) -> str:
    """Return a mail as its reader sees it, with the token of its link shortened."""
    text = mail.text
    if mail.token:
        text = text.replace(mail.token, f"{mail.token[:12]}...")
    return f"To: {mail.to}\nSubject: {mail.subject}\n\n{text}"


def brief(value: Any) -> str:
    """Return what a record says: tokens shortened, empty fields left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return f"{type(value).__name__}({_pairs(fields, '=')})"
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST else f"{value[:12]}...")
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, Mapping):
        return "{" + _pairs({repr(key): item for key, item in value.items()}, ": ") + "}"
    text = repr(value)
    return f"<{type(value).__name__}>" if " object at 0x" in text else text


def _pairs(items: Mapping[str, Any], sign: str) -> str:
    return ", ".join(
        f"{name}{sign}{brief(item)}" for name, item in items.items() if item not in (None, {})
    )
