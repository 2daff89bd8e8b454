"""Reading a request: its body, its query and its path, checked against what was declared."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from flask import request

from .._refusals import InvalidRequestError, MediaTypeError, TooLargeError
from .fields import OMIT, Field

__all__ = ["LARGEST_BODY", "read_body", "read_query"]

LARGEST_BODY = 32_768
"""Bytes; the longest request that says anything is a tenth of that."""

Fields = Mapping[str, Field]


def read_query(fields: Fields) -> dict[str, Any]:
    """Return the values of the query.

    Raises:
        InvalidRequestError: One is unknown, comes twice or cannot be used.
    """
    given: dict[str, str] = {}
    for name, value in request.args.items(multi=True):
        if name in given:
            raise InvalidRequestError("is given twice", field=name[:50])
        given[name] = value
    return _read(fields, given, _parse)


def read_body(fields: Fields) -> dict[str, Any]:
    """Return the values of the JSON body, an object; one without required fields may be left out.

    Raises:
        InvalidRequestError: It is no JSON object, or one of its members is unknown or missing, or
            cannot be used.
        MediaTypeError: It is declared to be something else.
        TooLargeError: It is longer than :data:`LARGEST_BODY`.
    """
    raw = _raw_body()
    if not raw and not any(field.required for field in fields.values()):
        return _read(fields, {}, _take)
    if not request.is_json:
        raise MediaTypeError
    return _read(fields, _object(raw), _take)


def _raw_body() -> bytes:
    if (request.content_length or 0) > LARGEST_BODY:
        raise TooLargeError
    # Chunked, a body does not say how long it is. What somebody before us has read is kept.
    raw = request.stream.read(LARGEST_BODY + 1) or request.get_data()
    if len(raw) > LARGEST_BODY:
        raise TooLargeError
    return raw


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw.decode(), parse_constant=_refuse, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise InvalidRequestError("The body is no JSON") from None
    if not isinstance(value, dict):
        raise InvalidRequestError("The body is no JSON object")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that comes twice: what reads the first is not what reads the last."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name comes twice")
    return members


def _parse(field: Field, text: str) -> Any:
    return field.parse(text)


def _take(field: Field, value: Any) -> Any:
    return field.read(value)


def _read(
    fields: Fields, given: Mapping[str, Any], how: Callable[[Field, Any], Any]
) -> dict[str, Any]:
    for name in given:
        if name not in fields:
            raise InvalidRequestError("is not known here", field=_printable(name))
    values = {}
    for name, field in fields.items():
        if name not in given:
            if field.required:
                raise InvalidRequestError("is missing", field=name)
            if field.default is not OMIT:
                values[name] = field.default
            continue
        try:
            values[name] = how(field, given[name])
        except ValueError as error:
            raise InvalidRequestError(str(error), field=name) from None
    return values


def _printable(name: str) -> str:
    return name[:50].encode("ascii", "backslashreplace").decode()
