"""What a ``User-Agent`` header stands for, in words that a person knows."""

from __future__ import annotations

__all__ = ["in_words"]

_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)
_LONGEST = 40


def in_words(agent: str | None) -> str | None:
    """Return browser and system, such as ``("Firefox", "Linux")`` joined; ``None`` if unknown.

    Others come first in the header of one who poses as them: Edge calls itself Chrome and Safari.
    """
    if not agent:
        return None
    browser = next((name for mark, name in _BROWSERS if mark in agent), None)
    system = next((name for mark, name in _SYSTEMS if mark in agent), None)
    known = [name for name in (browser, system) if name is not None]
    return " · ".join(known) or (agent if len(agent) <= _LONGEST else f"{agent[: _LONGEST - 1]}…")
