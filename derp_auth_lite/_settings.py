"""What every group of settings shares: it checks itself when it is made."""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from .exceptions import ConfigError

__all__ = ["Settings", "entry_types", "inner_type", "scheme_and_host", "setting_types"]

_MAX_DAYS = 36_500
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_UNIONS = (types.UnionType, Union)  # Literal | None is the second


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Parent of the groups of settings.

    Raises:
        ConfigError: A value has the wrong type, or breaks a rule of its group. The message begins
            with the class, names the setting and the rule, and never holds the value.
    """

    ignored_keys: ClassVar[tuple[str, ...]] = ()
    """Keys that a file may hold for the async original, and that do nothing here."""

    def __post_init__(self) -> None:
        for name, kind in setting_types(type(self)).items():
            try:
                value = _fit(kind, getattr(self, name))
            except _UnfitError as unfit:
                raise ConfigError(f"{type(self).__name__}.{name} must be {unfit}") from None
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        """Hold the values against the rules of the group; their types are right already."""

    def _need(self, holds: bool, name: str, rule: str) -> None:
        if not holds:
            raise ConfigError(f"{type(self).__name__}.{name} {rule}")

    def _need_line(self, *names: str) -> None:
        """Refuse empty text, and line breaks that could begin another header or command."""
        for name in names:
            value = getattr(self, name)
            fine = value is None or (value.strip() and not any(ord(char) < 32 for char in value))
            self._need(fine, name, "must not be empty or hold control characters")

    def _need_https(self, name: str) -> None:
        """Refuse a URL that others on the network could answer."""
        scheme, host = scheme_and_host(getattr(self, name))
        safe = (scheme == "https" and host != "") or (scheme == "http" and host in _LOOPBACK)
        self._need(safe, name, "must be an https URL, or http on this machine")

    def _need_lifetime(self, name: str, *, units_a_day: int) -> None:
        """Refuse a time that is over at once, or so long that a date could not hold its end."""
        fine = 0 < getattr(self, name) <= _MAX_DAYS * units_a_day
        self._need(fine, name, "must be more than 0 and at most a hundred years")


def _fit(kind: Any, value: Any) -> Any:
    """Return *value* as the type *kind* has it: a list becomes a tuple, nothing else changes.

    Known are str, int, bool, groups of settings, ``Literal`` of texts, ``Sequence[X]``,
    ``tuple[X, Y]`` and ``X | None``. A bool is no int here, and a str is no sequence.
    """
    if get_origin(kind) in _UNIONS:
        return None if value is None else _fit(inner_type(kind), value)
    if get_origin(kind) is Literal:
        return _fit_choice(get_args(kind), value)
    if get_origin(kind) in {Sequence, tuple}:
        return _fit_entries(kind, value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        names = {str: "text", int: "a whole number", bool: "true or false"}
        raise _UnfitError(f"{names.get(kind, kind.__name__)}, not {type(value).__name__}")
    return _fit_text(value) if kind is str else value


def _fit_choice(choices: tuple[str, ...], value: Any) -> str:
    if not isinstance(value, str) or value not in choices:
        raise _UnfitError(f"one of {', '.join(choices)}")
    return str(value)


def _fit_entries(kind: Any, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _UnfitError(f"a list, not {type(value).__name__}")
    if get_origin(kind) is tuple and len(value) != len(get_args(kind)):
        raise _UnfitError(f"a list of {len(get_args(kind))}, not of {len(value)}")
    places = zip(entry_types(kind, len(value)), value, strict=True)
    try:
        return tuple(_fit(one, entry) for one, entry in places)
    except _UnfitError as unfit:
        raise _UnfitError(f"a list with {unfit}") from None


def _fit_text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:  # bytes of an environment variable that were no UTF-8
        raise _UnfitError("Unicode text, and holds bytes that are not") from None
    return str(value)


class _UnfitError(Exception):
    """A value is not of the type that the message describes."""


def setting_types(kind: type[Settings]) -> dict[str, Any]:
    """Return the type of every setting of the group *kind*, in their order."""
    hints = get_type_hints(kind)
    return {setting.name: hints[setting.name] for setting in fields(kind)}


def inner_type(kind: Any) -> Any:
    """Return X for ``X | None``; any other type is its own."""
    if get_origin(kind) not in _UNIONS:
        return kind
    return next(arg for arg in get_args(kind) if arg is not types.NoneType)


def entry_types(kind: Any, count: int) -> tuple[Any, ...]:
    """Return the type of each of *count* entries; where *kind* says nothing of them, object."""
    args = get_args(kind)
    if get_origin(kind) is Sequence:
        return args * count
    return args if get_origin(kind) is tuple and len(args) == count else (object,) * count


def scheme_and_host(url: str) -> tuple[str, str]:
    """Return scheme and host of a URL; empty texts where it is none."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname or ""
    except ValueError:
        return "", ""
