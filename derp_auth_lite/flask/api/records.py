"""What the API answers with, and each record's JSON Schema.

``metadata`` of users is the application's own and is not shown: what it keeps there may not be
meant for the user.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ...models import CursorResult

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "Ended",
    "Entered",
    "Failure",
    "Identities",
    "Identity",
    "Member",
    "Organization",
    "Page",
    "Problem",
    "Session",
    "Start",
    "Switched",
    "Tokens",
    "User",
    "as_json",
    "as_markdown",
    "page_of",
    "pick",
    "schema_of",
]

T = TypeVar("T")
Record = TypeVar("Record", bound="DataclassInstance")
Info = TypeVar("Info")


@dataclass(frozen=True, kw_only=True)
class User:
    """An account, as its owner sees it."""

    id: str
    email: str
    first_name: str | None
    last_name: str | None
    username: str | None
    image_url: str | None
    role: str
    email_confirmed_at: datetime | None
    last_sign_in_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """A pair of tokens; ``expires_in`` (seconds) and ``expires_at`` are the access token's end."""

    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Entered:
    """A session that has begun; without tokens where the cookie stands for it."""

    user: User
    tokens: Tokens | None


@dataclass(frozen=True, kw_only=True)
class Session:
    """A place where somebody is signed in; ``current`` is the one that asks."""

    id: str
    current: bool
    user_agent: str | None
    ip_address: str | None
    created_at: datetime | None
    expires_at: datetime
    organization_id: str | None
    organization_role: str | None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How many sessions were ended."""

    ended: int


@dataclass(frozen=True, kw_only=True)
class Identity:
    """An account at a provider that one signs in with; ``subject`` is its id there."""

    provider: str
    subject: str
    email: str | None
    created_at: datetime
    last_sign_in_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Identities:
    """All of one's accounts at providers, the oldest first."""

    data: list[Identity]


@dataclass(frozen=True, kw_only=True)
class Start:
    """A sign-in at a provider that has begun.

    Send the browser to ``url``; keep ``binding`` where no other browser and no other site sees it,
    such as the session storage of the page, and send it back with what the provider answers.
    """

    url: str
    state: str
    binding: str


@dataclass(frozen=True, kw_only=True)
class Organization:
    """An organization, and one's own role in it."""

    id: str
    name: str
    slug: str
    role: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class Member:
    """A member of an organization."""

    user_id: str
    email: str
    first_name: str | None
    last_name: str | None
    role: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class Switched:
    """The organization that is active now; tokens say so where a refresh token was given."""

    organization_id: str | None
    organization_role: str | None
    tokens: Tokens | None


@dataclass(frozen=True, kw_only=True)
class Page(Generic[T]):
    """A part of a list; ``after=next_cursor`` gets the next."""

    data: list[T]
    has_more: bool
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Why a request was refused: ``code`` for programs, ``message`` for who reads the log.

    ``field`` names the part of the request that is wrong, where it is one.
    """

    code: str
    message: str
    field: str | None = None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The body of every refusal."""

    error: Problem


def pick(kind: type[Record], info: Any, **others: Any) -> Record:
    """Make a record from the fields of the same name of *info*, and from *others*."""
    names = [f.name for f in dataclasses.fields(kind) if f.name not in others]
    return kind(**{name: getattr(info, name) for name in names}, **others)


def page_of(result: CursorResult[Info], record: Callable[[Info], T | None]) -> Page[T]:
    """Make a page of records, without those that *record* has none for."""
    return Page(
        data=[each for info in result.data if (each := record(info)) is not None],
        has_more=result.has_more,
        next_cursor=result.next_cursor,
    )


def as_json(value: Any) -> Any:
    """Return a record as what JSON knows; times are RFC 3339."""
    if dataclasses.is_dataclass(value):
        return {f.name: as_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list):
        return [as_json(each) for each in value]
    return value.isoformat() if isinstance(value, datetime) else value


def schema_of(kind: Any, components: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a type; the records in it are put into *components*."""
    simple = _SIMPLE.get(kind)
    if simple is not None:
        return dict(simple)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        return {"type": "array", "items": schema_of(arguments[0], components)}
    if origin is types.UnionType:
        return {"anyOf": [schema_of(each, components) for each in arguments]}
    name = kind.__name__ if origin is None else f"{arguments[0].__name__}{origin.__name__}"
    if name not in components:
        components[name] = {}  # a record may hold others
        components[name] = _record_schema(origin or kind, arguments, components)
    return {"$ref": f"#/components/schemas/{name}"}


_SIMPLE: dict[Any, dict[str, Any]] = {
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
    int: {"type": "integer"},
    str: {"type": "string"},
    type(None): {"type": "null"},
}


def _record_schema(
    kind: type[Any], arguments: tuple[Any, ...], components: dict[str, Any]
) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    properties = {
        name: schema_of(_filled_in(hints[name], arguments), components)
        for name in (f.name for f in dataclasses.fields(kind))
    }
    return {
        "type": "object",
        "description": as_markdown(kind.__doc__),
        "properties": properties,
        "required": [f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING],
        "additionalProperties": False,
    }


def as_markdown(docstring: str | None) -> str:
    """Return a docstring as a document shows it."""
    return inspect.cleandoc(docstring or "").replace("``", "`")


def _filled_in(hint: Any, arguments: tuple[Any, ...]) -> Any:
    """Return a hint with the type variable replaced."""
    return hint[arguments] if arguments and getattr(hint, "__parameters__", ()) else hint
