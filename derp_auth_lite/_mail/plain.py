"""Plain text out of HTML, for mails that have no text template."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from .text import wrapped

__all__ = ["plain_text"]

_HIDDEN = frozenset({"head", "script", "style", "title"})
_BREAKS = frozenset(
    {"address", "article", "blockquote", "br", "div", "footer", "h1", "h2", "h3", "h4", "header"}
    | {"hr", "li", "ol", "p", "pre", "section", "table", "td", "th", "tr", "ul"}
)
_VOID = frozenset({"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "wbr"})


def plain_text(html: str) -> str:
    """Return the words and links of *html*, for readers who want no HTML."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return wrapped("\n".join(" ".join(line.split()) for line in reader.lines()))


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
