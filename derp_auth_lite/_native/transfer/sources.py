"""Accounts as other systems keep them, in the terms of this one.

Ids that are no UUIDs become ones that depend on nothing but system and id, so that the same dump
gives the same accounts again; what they were is in ``metadata["imported"]``. Roles and groups of
other systems stay there: what they allow is the application's to say.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO

from ..._addresses import normalize_email
from ..._passwords import foreign
from ...exceptions import InvalidEmailError, TransferError
from ...password import is_known_hash
from .kinds import MEMBER, ORG, USER, Kind, Record, checked
from .read import csv_rows, json_items, whole_json

__all__ = ["SOURCES", "Options", "derp_records", "read_source"]

_IDS = uuid.UUID("5b0c8b0e-3f0f-4c0e-9a57-64657270614c")
_TRUE = frozenset({True, "t", "true", "True", "1"})

Row = Mapping[str, Any]
Place = tuple[str, Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to take what other systems keep.

    Args:
        now: The present moment, for bans that end and for rows without times.
        confirmed: Vouch for every address.
        flask_security_salt: ``SECURITY_PASSWORD_SALT``, where Flask-Security hashed twice. It is
            kept with each hash until that is renewed.
        skip_unusable: Leave out users without a usable address, instead of refusing all.
        drop_unknown_hashes: Take users whose hash is of no known kind without a password.
        skipped: Where users were left out.
    """

    now: datetime
    confirmed: bool = False
    flask_security_salt: str | None = None
    skip_unusable: bool = False
    drop_unknown_hashes: bool = False
    skipped: list[str] = field(default_factory=list)


def read_source(name: str, stream: BinaryIO, options: Options) -> Iterator[Record]:
    """Yield the records of a dump: the system is one of :data:`SOURCES`.

    Raises:
        TransferError: A part of it cannot be understood or kept; the message says which.
    """
    if name == "derp":
        yield from derp_records(_derp_tables(whole_json(stream)), options)
        return
    for place, row in csv_rows(stream) if _is_csv(stream) else json_items(stream):
        if not isinstance(row, dict):
            raise TransferError(f"{place}: this is no JSON object")
        yield from _users(SOURCES[name](row, options), place, options)


def derp_records(rows: Iterable[tuple[Kind, str, Row]], options: Options) -> Iterator[Record]:
    """Yield the records of the tables of derp.

    Identities are left out: there an address alone linked them, whoever had vouched for it. At the
    next sign-in with a provider they are linked anew, by the rules of this library.
    """
    for kind, place, row in rows:
        if kind is USER:
            yield from _users(_derp_user(row), place, options)
        elif kind is ORG:
            yield checked(ORG, _derp_org(row), place)
        else:
            yield checked(MEMBER, _derp_member(row), place)


def _derp_tables(tables: Any) -> Iterator[tuple[Kind, str, Row]]:
    names = {"users": USER, "organizations": ORG, "org_members": MEMBER}
    if not isinstance(tables, dict) or not tables.keys() & names.keys():
        raise TransferError(f"the file is no object of {', '.join(names)}")
    for name, kind in names.items():
        rows = tables.get(name) or []
        for number, row in enumerate(rows if isinstance(rows, list) else [rows], 1):
            if not isinstance(row, dict):
                raise TransferError(f"{name}, record {number}: this is no JSON object")
            yield kind, f"{name}, record {number}", row


def _is_csv(stream: BinaryIO) -> bool:
    start = stream.read(3).lstrip(b"\xef\xbb\xbf \t\r\n")
    stream.seek(0)
    return start[:1] not in {b"[", b"{"}


def _users(row: dict[str, Any] | None, place: str, options: Options) -> Iterator[Record]:
    """Yield a user whose row has been put into our terms; ``None`` stands for none."""
    if row is None:
        return
    try:
        email = row["email"]
        address = normalize_email(email.strip() if isinstance(email, str) else email)
    except InvalidEmailError as error:
        if not options.skip_unusable:
            raise TransferError(
                f"{place}: the user has no usable email address; --skip-unusable leaves such out"
            ) from error
        options.skipped.append(place)
        return
    hashed = row["password_hash"]
    if hashed is not None and not (isinstance(hashed, str) and is_known_hash(hashed)):
        if not options.drop_unknown_hashes:
            raise TransferError(
                f"{place}: the hash is of no known kind; --drop-unknown-hashes takes such users "
                "without a password"
            )
        row["password_hash"] = None
    if options.confirmed:
        row["email_confirmed_at"] = row["email_confirmed_at"] or row["created_at"]
    yield checked(USER, {**_NOTHING, **row, "email": address}, place)


_NOTHING: dict[str, Any] = {
    **dict.fromkeys(("first_name", "last_name", "username", "image_url")),
    **dict.fromkeys(("email_confirmed_at", "password_hash", "last_sign_in_at")),
    "role": "default",
    "is_active": True,
    "is_superuser": False,
    "metadata": {},
    "failed_sign_ins": 0,
}


def _django(row: Row, options: Options) -> dict[str, Any] | None:
    """Take ``dumpdata``: any model that has an address and a password is one of users."""
    fields = row.get("fields")
    if not isinstance(fields, dict) or not {"email", "password"} <= fields.keys():
        return None
    hashed = fields["password"] or "!"
    made = _moment(fields.get("date_joined"), options.now)
    return {
        **_origin("django", row.get("pk")),
        "email": fields["email"],
        # Django writes "!" where there is no password that could be used.
        "password_hash": None if str(hashed).startswith("!") else hashed,
        **_names(fields),
        "username": fields.get("username") or None,
        "is_active": _is_true(fields.get("is_active", True)),
        "is_superuser": _is_true(fields.get("is_superuser", False)),
        "email_confirmed_at": None,
        "created_at": made,
        "updated_at": made,
        "last_sign_in_at": _moment(fields.get("last_login"), None),
    }


def _flask(row: Row, options: Options) -> dict[str, Any]:
    """Take a table of an application of its own, with the usual names of columns."""
    made = _moment(_first(row, "created_at", "create_datetime", "registered_on"), options.now)
    hashed = _first(row, "password_hash", "password", "pw_hash")
    if options.flask_security_salt and isinstance(hashed, str):
        hashed = foreign.double_hash(hashed, options.flask_security_salt)
    return {
        **_origin("flask", _first(row, "id", "user_id", "pk")),
        "email": _first(row, "email", "mail"),
        "password_hash": hashed,
        **_names(row),
        "username": row.get("username") or None,
        "is_active": _is_true(_first(row, "active", "is_active", default=True)),
        "is_superuser": False,
        "email_confirmed_at": _moment(_first(row, "confirmed_at", "email_confirmed_at"), None),
        "created_at": made,
        "updated_at": made,
        "last_sign_in_at": _moment(_first(row, "last_login_at", "current_login_at"), None),
    }


def _supabase(row: Row, options: Options) -> dict[str, Any] | None:
    """Take ``auth.users``; who was deleted there, or never had an address, is left out."""
    if row.get("deleted_at") or _is_true(row.get("is_anonymous")):
        return None
    made = _moment(row.get("created_at"), options.now)
    banned = _moment(row.get("banned_until"), None)
    about = _object(row.get("raw_user_meta_data"))
    return {
        "id": row.get("id"),
        "email": row.get("email"),
        "password_hash": row.get("encrypted_password") or None,
        **_names(about),
        "is_active": banned is None or _is_past(banned, options.now),
        "email_confirmed_at": _moment(_first(row, "email_confirmed_at", "confirmed_at"), None),
        "metadata": about,
        "created_at": made,
        "updated_at": _moment(row.get("updated_at"), None) or made,
        "last_sign_in_at": _moment(row.get("last_sign_in_at"), None),
    }


def _derp_user(row: Row) -> dict[str, Any]:
    confirmed = _moment(row.get("email_confirmed_at"), None)
    last = _moment(row.get("last_sign_in_at"), None)
    # There, to ask for a magic link was enough to have the address confirmed.
    proved = row.get("provider") != "magic_link" or last is not None
    kept = ("id", "email", "first_name", "last_name", "username", "image_url", "role")
    return {
        **{name: row.get(name) for name in kept},
        "password_hash": row.get("encrypted_password"),
        "is_active": _is_true(row.get("is_active", True)),
        "is_superuser": _is_true(row.get("is_superuser", False)),
        "email_confirmed_at": confirmed if proved else None,
        "created_at": _moment(row.get("created_at"), None),
        "updated_at": _moment(row.get("updated_at"), None),
        "last_sign_in_at": last,
    }


def _derp_org(row: Row) -> dict[str, Any]:
    return {
        **{name: row.get(name) for name in ("id", "name", "slug")},
        "metadata": _object(row.get("metadata")),
        "created_at": _moment(row.get("created_at"), None),
        "updated_at": _moment(row.get("updated_at"), None),
    }


def _derp_member(row: Row) -> dict[str, Any]:
    return {
        **{name: row.get(name) for name in ("org_id", "user_id", "role")},
        "created_at": _moment(row.get("created_at"), None),
        "updated_at": _moment(row.get("updated_at"), None),
    }


def _origin(system: str, key: object) -> dict[str, Any]:
    """Return an account's id and where it comes from; an id that is a UUID is kept."""
    text = str(key).encode("utf-8", "backslashreplace").decode()
    try:
        own = str(uuid.UUID(text))
    except ValueError:
        own = str(uuid.uuid5(_IDS, f"{system} {text}"))
    return {
        "id": None if key is None else own,
        "metadata": {"imported": {"from": system, "id": key}},
    }


def _names(row: Row) -> dict[str, Any]:
    return {name: row.get(name) or None for name in ("first_name", "last_name")}


def _first(row: Row, *names: str, default: Any = None) -> Any:
    """Return the first of several fields that says something."""
    found = (row[name] for name in names if row.get(name) not in (None, ""))
    return next(found, default)


def _is_true(value: Any) -> bool:
    return isinstance(value, bool | int | str) and value in _TRUE


def _object(value: Any) -> Any:
    """Return a JSON object, which CSV and SQLite keep as text."""
    if not isinstance(value, str):
        return {} if value is None else value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _moment(value: Any, default: datetime | None) -> str | None:
    """Return a time as text with a zone; without one it is UTC. What is no time stays as it is."""
    if value in (None, ""):
        return None if default is None else default.isoformat()
    if isinstance(value, datetime):
        moment = value
    else:
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            return str(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


def _is_past(moment: str, now: datetime) -> bool:
    """Tell whether a time has come; one that cannot be read, such as ``infinity``, has not."""
    try:
        return datetime.fromisoformat(moment) <= now
    except ValueError:
        return False


SOURCES: dict[str, Callable[[Row, Options], dict[str, Any] | None]] = {
    "django": _django,
    "flask": _flask,
    "supabase": _supabase,
}
"""The systems whose rows stand for themselves; ``derp`` is the other one."""
