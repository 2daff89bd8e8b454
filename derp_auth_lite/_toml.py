"""Reads groups of settings from a TOML file."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from ._settings import Settings, entry_types, inner_type, setting_types
from .exceptions import ConfigError

__all__ = ["TableReader", "read_toml"]

S = TypeVar("S", bound=Settings)

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_ALIKE = 0.6
_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


class TableReader:
    """Makes a group of settings from a TOML table.

    Texts of the form ``$NAME`` stand for environment variables, which may also give a whole number
    or a truth value (true, yes, on, 1; false, no, off, 0).
    """

    def __init__(self) -> None:
        self.ignored: list[str] = []
        """The keys that were read over, as full paths."""
        self._missing: list[str] = []

    def read(self, kind: type[S], table: Mapping[str, Any]) -> S:
        """Make the group *kind* from *table*.

        Raises:
            ConfigError: A key is unknown, a variable or a needed key is missing, or the group
                refuses a value. The message names the key's full path.
        """
        resolved = self._resolve(kind, table, "", list(_paths(kind)))
        if self._missing:
            names = ", ".join(dict.fromkeys(self._missing))
            raise ConfigError(f"these environment variables are not set: {names}")
        group: S = _build(kind, resolved, "")
        return group

    def _resolve(self, kind: Any, value: Any, path: str, known: Sequence[str]) -> Any:
        """Return *value* without ignored keys, and with what the environment says."""
        kind = inner_type(kind)
        if isinstance(value, Mapping) and _is_group(kind):
            return self._resolve_group(kind, value, path, known)
        if isinstance(value, list):
            places = enumerate(zip(entry_types(kind, len(value)), value, strict=True))
            return [self._resolve(one, v, f"{path}[{i}]", known) for i, (one, v) in places]
        if isinstance(value, str) and value.startswith("$"):
            return self._from_environment(kind, value[1:], path)
        return value

    def _resolve_group(
        self, kind: type[Settings], table: Mapping[str, Any], path: str, known: Sequence[str]
    ) -> dict[str, Any]:
        types_of_keys = setting_types(kind)
        resolved = {}
        for key, value in table.items():
            here = _join(path, key)
            if key in kind.ignored_keys:
                self.ignored.append(here)
            elif key in types_of_keys:
                resolved[key] = self._resolve(types_of_keys[key], value, here, known)
            else:
                nearest = _nearest(here, known)
                raise ConfigError(
                    f"{here} is not known" + (f"; did you mean {nearest}?" if nearest else "")
                )
        return resolved

    def _from_environment(self, kind: Any, name: str, path: str) -> Any:
        if not _ENV_NAME.fullmatch(name):  # not shown: it could be a password that begins with $
            raise ConfigError(f"{path} begins with $, but names no environment variable")
        text = os.environ.get(name)
        if text is None:
            self._missing.append(f"${name}")
            return None
        value = _converted(kind, text)
        if value is None:
            what = "a whole number" if kind is int else "true or false"
            raise ConfigError(
                f"{path} must be {what}, and the variable ${name} holds something else"
            )
        return value


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the tables of the TOML file *path*; a byte order mark (Windows) does not matter.

    Raises:
        ConfigError: It is not there, cannot be read, or is not TOML; the message shows no content.
    """
    import tomllib  # only who has a file waits for it

    try:
        return tomllib.loads(_content(path).decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ConfigError("the file is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the file is not TOML: {error}") from None
    except (ValueError, RecursionError):  # a number of 5,000 digits, a thousand brackets
        raise ConfigError("the file is not TOML that can be read") from None


def _content(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"there is no such file in {Path(path).absolute().parent}") from None
    except OSError as error:
        raise ConfigError(f"the file cannot be read: {error.strerror}") from error
    except ValueError as error:  # a name with NUL
        raise ConfigError("the file cannot be read: no file can have that name") from error


def _build(kind: Any, value: Any, path: str) -> Any:
    kind = inner_type(kind)
    if not _is_group(kind):
        return _build_entries(kind, value, path) if isinstance(value, list) else value
    if not isinstance(value, Mapping):
        raise ConfigError(f"{path} must be a table, not {type(value).__name__}")
    absent = [_join(path, name) for name in _required(kind) if name not in value]
    if absent:
        raise ConfigError(f"{', '.join(absent)} must be set")
    hints = setting_types(kind)
    values = {name: _build(hints[name], entry, _join(path, name)) for name, entry in value.items()}
    try:
        return kind(**values)
    except ConfigError as error:
        rule = error.message.removeprefix(kind.__name__)
        raise ConfigError(f"{path}{rule}") from None


def _build_entries(kind: Any, values: list[Any], path: str) -> list[Any]:
    places = enumerate(zip(entry_types(kind, len(values)), values, strict=True))
    return [_build(one, entry, f"{path}[{i}]") for i, (one, entry) in places]


def _converted(kind: Any, text: str) -> Any:
    """Return what *text* says in the type *kind*; ``None`` if it says nothing of that type."""
    if kind is int:
        return int(text) if _WHOLE_NUMBER.fullmatch(text) else None
    if kind is bool:
        return {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}.get(text.lower())
    return text


def _required(kind: type[Settings]) -> list[str]:
    return [f.name for f in fields(kind) if f.default is f.default_factory is MISSING]


def _is_group(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Settings)


def _join(path: str, key: str) -> str:
    shown = key if _BARE_KEY.fullmatch(key) else json.dumps(key[:64])
    return f"{path}.{shown}" if path else shown


def _paths(kind: type[Settings], path: str = "") -> Iterator[str]:
    """Go through the full paths of all keys that a file can hold."""
    for name, hint in setting_types(kind).items():
        here = _join(path, name)
        yield here
        inner = inner_type(hint)
        entry = get_args(inner)[0] if get_origin(inner) is Sequence else inner
        if _is_group(entry):
            yield from _paths(entry, here)


def _nearest(path: str, known: Sequence[str]) -> str | None:
    """Return the known key whose name is most alike; of two, the one in the same table.

    ``None`` where none is much alike.
    """
    from difflib import SequenceMatcher  # only who mistyped waits for it

    table, _, name = re.sub(r"\[[0-9]+\]", "", path).rpartition(".")

    def likeness(other: str) -> tuple[float, bool]:
        its_table, _, its_name = other.rpartition(".")
        return SequenceMatcher(None, name, its_name).ratio(), table == its_table

    nearest = max(known, key=likeness)
    return nearest if likeness(nearest)[0] >= _ALIKE else None
