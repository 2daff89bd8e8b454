"""What a request may carry: each kind of field checks a value and describes itself.

The description is JSON Schema (draft 2020-12), so that what the document says and what is checked
are one declaration.
"""

from __future__ import annotations

import abc
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..._values import is_storable

__all__ = ["ADDRESS", "OMIT", "PASSWORD", "TOKEN", "Choice", "Field", "Flag", "Text", "Whole"]

OMIT: Any = object()
"""The default of a field whose absence is the handler's to notice."""


@dataclass(frozen=True, kw_only=True)
class Field(abc.ABC):
    """One value of a body, a query or a path.

    Args:
        required: It must be there. Else *default* stands in for it, or nothing does.
        nullable: It may be ``null``.
        note: What the document says of it.
    """

    required: bool = True
    default: Any = OMIT
    nullable: bool = False
    note: str = ""

    def read(self, value: Any) -> Any:
        """Return a value of a JSON body checked.

        Raises:
            ValueError: It cannot be used; the message says why and does not hold it.
        """
        if value is None and self.nullable:
            return None
        return self._checked(value)

    def parse(self, text: str) -> Any:
        """Return a value of a query checked; raises as :meth:`read`."""
        return self._checked(text)

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema."""
        schema = self._schema()
        if self.nullable:
            schema["type"] = [schema["type"], "null"]
        if self.default is not OMIT and self.default is not None:
            schema["default"] = self.default
        return schema | ({"description": self.note} if self.note else {})

    @abc.abstractmethod
    def _checked(self, value: Any) -> Any:
        """Return *value*; raise ``ValueError`` where it is none of these."""

    @abc.abstractmethod
    def _schema(self) -> dict[str, Any]:
        """Return the JSON Schema without what every field may have."""


@dataclass(frozen=True, kw_only=True)
class Text(Field):
    """A text without NUL and lone surrogates.

    Args:
        shortest: Characters at least; likewise *longest*.
        form: The schema's ``format``, which is not checked here.
        pattern: All of it must match; it begins with ``^`` and ends with ``$``.
    """

    shortest: int = 1
    longest: int = 255
    form: str | None = None
    pattern: str | None = None

    def _checked(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("must be a text")
        if not self.shortest <= len(value) <= self.longest:
            raise ValueError(f"must have {self.shortest} to {self.longest} characters")
        if not is_storable(value):
            raise ValueError("has characters that cannot be stored")
        # "$" would let a line end through.
        if self.pattern is not None and not re.fullmatch(self.pattern.strip("^$"), value):
            raise ValueError(f"must match {self.pattern}")
        return value

    def _schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "string", "maxLength": self.longest}
        if self.shortest:
            schema["minLength"] = self.shortest
        if self.form is not None:
            schema["format"] = self.form
        if self.pattern is not None:
            schema["pattern"] = self.pattern
        return schema


@dataclass(frozen=True, kw_only=True)
class Choice(Field):
    """One of some words."""

    words: Sequence[str]

    def _checked(self, value: Any) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise ValueError(f"must be one of {', '.join(self.words)}")
        return value

    def _schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.words)}


@dataclass(frozen=True, kw_only=True)
class Flag(Field):
    """``true`` or ``false``, and nothing that is like one of them."""

    def _checked(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError("must be true or false")
        return value

    def _schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True, kw_only=True)
class Whole(Field):
    """A whole number from *least* to *most*."""

    least: int
    most: int

    def parse(self, text: str) -> int:
        """Return the number that decimal digits stand for."""
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise ValueError("must be a whole number")
        return self._checked(int(text))

    def _checked(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("must be a whole number")
        if not self.least <= value <= self.most:
            raise ValueError(f"must be from {self.least} to {self.most}")
        return value

    def _schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


ADDRESS = Text(longest=320, note="An email address.")
PASSWORD = Text(longest=1024, form="password")
TOKEN = Text(longest=1024, note="The token of a link that was mailed.")
