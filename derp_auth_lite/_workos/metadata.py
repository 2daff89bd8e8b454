"""Metadata at WorkOS: up to ten pairs of ASCII text, in which JSON has to fit.

A text is kept as it is, so that the dashboard shows it; anything else as JSON behind a prefix. An
empty text stands for a pair that was taken out: a service that merges has no other way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .._http import parse_json
from ..exceptions import InvalidProfileError

__all__ = ["as_text", "pack", "tombstones", "unpack"]

_PREFIX = "json:"
_MAX_KEY = 40
_MAX_VALUE = 600


def pack(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return a JSON object as pairs of text.

    Raises:
        InvalidProfileError: A key or a value is longer than WorkOS keeps, or a key is not ASCII.
    """
    return {_key(key): as_text(key, value) for key, value in metadata.items()}


def as_text(key: str, value: Any) -> str:
    """Return one value as text.

    Raises:
        InvalidProfileError: It is longer than WorkOS keeps.
    """
    plain = isinstance(value, str) and value.isascii() and value and not value.startswith(_PREFIX)
    text = value if plain else _PREFIX + json.dumps(value, separators=(",", ":"))
    if len(text) > _MAX_VALUE:
        raise InvalidProfileError(f"{key} is longer than WorkOS keeps: {_MAX_VALUE} characters")
    return str(text)


def unpack(pairs: object) -> dict[str, Any]:
    """Return pairs of text as the JSON object that they stand for."""
    if not isinstance(pairs, dict):
        return {}
    return {key: _value(text) for key, text in pairs.items() if text not in ("", None)}


def tombstones(wanted: Mapping[str, str], answered: object) -> dict[str, str]:
    """Return what takes out the pairs that an answer still has though they were left out."""
    kept = unpack(answered).keys() - wanted.keys()
    return dict.fromkeys(sorted(kept), "")


def _key(key: str) -> str:
    if not key.isascii() or len(key) > _MAX_KEY:
        raise InvalidProfileError(f"WorkOS keeps metadata keys of {_MAX_KEY} ASCII characters")
    return key


def _value(text: Any) -> Any:
    if isinstance(text, str) and text.startswith(_PREFIX):
        try:
            return parse_json(text.removeprefix(_PREFIX))
        except ValueError:
            return text
    return text
