"""Files as records, one after the other, however long they are."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn

from ...exceptions import TransferError
from .export import FORMAT, VERSION
from .kinds import KINDS, Record, checked

__all__ = ["csv_rows", "json_items", "read_lines", "whole_json"]

_LONGEST = 1 << 20
_CHUNK = 1 << 16
_KINDS = {kind.name: kind for kind in KINDS}
_BLANK = " \t\r\n"


def read_lines(stream: BinaryIO) -> Iterator[Record]:
    """Yield the records of a file that an export wrote.

    Raises:
        TransferError: It is no such file, a newer version's, damaged, or was cut off.
    """
    lines = _json_lines(stream)
    place, header = next(lines, ("line 1", None))
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise TransferError(f"{place}: this is no export of derp_auth_lite")
    if header.get("version") != VERSION:
        raise TransferError(f"{place}: the file was written by a newer version: upgrade")
    counts = dict.fromkeys(_KINDS, 0)
    for place, item in lines:
        name = item.pop("type", None) if isinstance(item, dict) else None
        if name == "end":
            _check_end(place, item, counts, next(lines, None))
            return
        kind = _KINDS.get(name) if isinstance(name, str) else None
        if kind is None:
            raise TransferError(f"{place}: this is no record")
        counts[kind.name] += 1
        yield checked(kind, item, place)
    raise TransferError("the file was cut off: its last line is missing")


def json_items(stream: BinaryIO) -> Iterator[tuple[str, Any]]:
    """Yield the objects of a JSON array, or of JSON Lines, with their places."""
    start = stream.read(1)
    while start and start in _BLANK.encode():
        start = stream.read(1)
    stream.seek(0)
    if start == b"[":
        yield from _json_array(stream)
    else:
        yield from _json_lines(stream)


def csv_rows(stream: BinaryIO) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows of a CSV file with a line of headings; an empty field is ``None``."""
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    reader = csv.DictReader(text, strict=True)
    try:
        for row in reader:
            place = f"line {reader.line_num}"
            if None in row or None in row.values():
                raise TransferError(f"{place}: another number of fields than headings")
            yield place, {name: value or None for name, value in row.items()}
    except UnicodeDecodeError as error:
        raise TransferError("the file is no UTF-8 text") from error
    except csv.Error as error:
        raise TransferError(f"line {reader.line_num + 1}: this is no CSV") from error
    finally:
        text.detach()  # the stream is the caller's to close


def whole_json(stream: BinaryIO) -> Any:
    """Return a JSON document that has to be read as a whole."""
    return _parsed("the file", stream.read())


def _check_end(place: str, numbers: dict[str, Any], counts: dict[str, int], beyond: object) -> None:
    if numbers != counts:
        raise TransferError(f"{place}: the numbers do not fit: records are missing")
    if beyond is not None:
        raise TransferError(f"{place}: the file goes on after its end")


def _json_lines(stream: BinaryIO) -> Iterator[tuple[str, Any]]:
    number = 0
    while line := stream.readline(_LONGEST + 1):
        number += 1
        place = f"line {number}"
        if len(line) > _LONGEST:
            raise TransferError(f"{place}: longer than a record can be")
        if line.strip():
            yield place, _parsed(place, line)


def _json_array(stream: BinaryIO) -> Iterator[tuple[str, Any]]:
    """Yield the objects of an array that need not fit into memory."""
    decoder = json.JSONDecoder(parse_constant=_refuse_constant)
    text, number = _Text(stream), 0
    text.skip("[")
    while text.peek() != "]":
        if number:
            text.skip(",", place=f"after record {number}")
        number += 1
        yield f"record {number}", text.take_object(decoder, f"record {number}")
    text.skip("]")
    if text.peek():
        raise TransferError("the file goes on after its end")


class _Text:
    """The text of a stream, of which as much is held as one record takes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._held = ""

    def peek(self) -> str:
        """Return the next character that is not blank; nothing at the end."""
        self._held = self._held.lstrip(_BLANK)
        while not self._held and self._more():
            self._held = self._held.lstrip(_BLANK)
        return self._held[:1]

    def skip(self, character: str, place: str = "the file") -> None:
        """Pass over a character that must come next."""
        if self.peek() != character:
            raise TransferError(f"{place}: {character!r} is missing")
        self._held = self._held[1:]

    def take_object(self, decoder: json.JSONDecoder, place: str) -> Any:
        """Return the next object, reading on until it is whole."""
        if self.peek() != "{":
            raise TransferError(f"{place}: this is no JSON object")
        while True:
            try:
                item, end = decoder.raw_decode(self._held)
            except (ValueError, RecursionError) as error:
                if len(self._held) > _LONGEST or not self._more():
                    raise TransferError(f"{place}: this is no JSON") from error
            else:
                self._held = self._held[end:]
                return item

    def _more(self) -> bool:
        chunk = self._stream.read(_CHUNK)
        try:
            self._held += self._decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            raise TransferError("the file is no UTF-8 text") from error
        return bool(chunk)


def _parsed(place: str, text: bytes) -> Any:
    try:
        return json.loads(text.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # also for numbers of 5,000 digits
        raise TransferError(f"{place}: this is no JSON") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
