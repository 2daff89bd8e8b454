"""Words, names and plain text as mails need them."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from datetime import timedelta
from html.parser import HTMLParser

__all__ = ["greeting_name", "in_words", "plain_text", "whole_minutes", "wrapped"]

WIDTH = 72
_NAME_LIMIT = 40
_HIDDEN = frozenset({"head", "script", "style", "title"})
_BREAKS = frozenset(
    {"address", "article", "blockquote", "br", "div", "footer", "h1", "h2", "h3", "h4", "header"}
    | {"hr", "li", "ol", "p", "pre", "section", "table", "td", "th", "tr", "ul"}
)
_VOID = frozenset({"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "wbr"})


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


def plain_text(html: str) -> str:
    """Return the words and links of *html*, for readers who want no HTML."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return wrapped("\n".join(" ".join(line.split()) for line in reader.lines()))


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def _joined(first: str, second: str) -> str:
    return " and ".join(part for part in (first, second) if part)


def _in_a_name(character: str) -> bool:
    return unicodedata.category(character)[0] in "LM" or character in " '\u2019-"


def _wrapped_line(line: str) -> list[str]:
    if len(line) <= WIDTH:
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.wrap(
        line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


class _Reader(HTMLParser):
    """Collects what a reader of the HTML would see, and where its links lead."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._out: list[str] = []
        self._open: list[tuple[str, bool]] = []
        self._link: tuple[str, int] | None = None

    def lines(self) -> list[str]:
        return "".join(self._out).split("\n")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _BREAKS:
            self._out.append("\n" if tag in {"br", "td", "th", "tr", "li"} else "\n\n")
        if tag in _VOID:
            return
        given = dict(attrs)
        style = (given.get("style") or "").replace(" ", "").lower()
        hidden = "display:none" in style or given.get("aria-hidden") == "true"
        self._open.append((tag, hidden or tag in _HIDDEN))
        if tag == "a" and given.get("href"):
            self._link = (given["href"] or "", len(self._out))

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._link is not None:
            self._close_link(*self._link)
            self._link = None
        if any(tag == name for name, _ in self._open):
            while self._open.pop()[0] != tag:
                pass
        if tag in _BREAKS:
            self._out.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not any(hidden for _, hidden in self._open):
            self._out.append(re.sub(r"\s+", " ", data))

    def _close_link(self, href: str, start: int) -> None:
        shown = "".join(self._out[start:]).strip()
        if "://" in href:
            self._out[start:] = [f"\n{href}\n"] if shown in {"", href} else [f"{shown}:\n{href}\n"]
