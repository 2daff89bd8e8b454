"""What every group of settings shares: its values are checked when it is made."""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from .exceptions import ConfigError

__all__ = ["Settings", "Unfit", "fit", "inner_type", "setting_types"]


class Unfit(Exception):
    """A value is not of the type that the message describes; the message never holds the value."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Parent of the groups of settings.

    Raises:
        ConfigError: A value has the wrong type, or breaks a rule of its group. The message names
            the setting and the rule, never the value.
    """

    def __post_init__(self) -> None:
        for name, kind in setting_types(type(self)).items():
            try:
                value = fit(kind, getattr(self, name))
            except Unfit as unfit:
                raise ConfigError(f"{type(self).__name__}.{name} must be {unfit}") from None
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        """Hold the values against the rules of the group; their types are right already."""

    def _need(self, holds: bool, name: str, rule: str) -> None:
        if not holds:
            raise ConfigError(f"{type(self).__name__}.{name} {rule}")


def setting_types(kind: type[Settings]) -> dict[str, Any]:
    """Return the type of every setting of the group *kind*, in their order."""
    hints = get_type_hints(kind)
    return {setting.name: hints[setting.name] for setting in fields(kind)}


def inner_type(kind: Any) -> Any:
    """Return X for ``X | None``; any other type is its own."""
    if get_origin(kind) is not types.UnionType:
        return kind
    return next(arg for arg in get_args(kind) if arg is not types.NoneType)


def fit(kind: Any, value: Any) -> Any:
    """Return *value* as the type *kind* has it: a list becomes a tuple, nothing else changes.

    Known are str, int, bool, a group of settings, ``Literal`` of texts, ``Sequence[X]``,
    ``tuple[X, Y]`` and ``X | None``.

    Raises:
        Unfit: It is of another type. A bool is no int here, and a str is no sequence.
    """
    origin, args = get_origin(kind), get_args(kind)
    if origin is types.UnionType:
        return None if value is None else fit(inner_type(kind), value)
    if origin is Literal:
        return _fit_choice(args, value)
    if origin is Sequence or origin is tuple:
        return _fit_items(kind, value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise Unfit(f"{_described(kind)}, not {type(value).__name__}")
    return _fit_text(value) if kind is str else value


def _described(kind: Any) -> str:
    names = {str: "text", int: "a whole number", bool: "true or false"}
    return names.get(kind) or f"a {kind.__name__}"


def _fit_choice(choices: tuple[str, ...], value: Any) -> str:
    if not isinstance(value, str) or value not in choices:
        raise Unfit(f"one of {', '.join(choices)}")
    return str(value)


def _fit_items(kind: Any, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise Unfit(f"a list, not {type(value).__name__}")
    args = get_args(kind)
    kinds = args * len(value) if get_origin(kind) is Sequence else args
    if len(kinds) != len(value):
        raise Unfit(f"a list of {len(kinds)}, not of {len(value)}")
    try:
        return tuple(fit(one, item) for one, item in zip(kinds, value, strict=True))
    except Unfit as unfit:
        raise Unfit(f"a list in which each entry is {unfit}") from None


def _fit_text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:  # bytes of an environment variable that are not UTF-8
        raise Unfit("text in Unicode; it holds bytes that are not") from None
    return str(value)
