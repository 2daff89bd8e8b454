"""In: records into the tables, in one transaction: all of them, or nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import peewee

from ..._local.events import Events
from ..._local.org_fields import OWNER
from ..._statements import Bind, Statement
from ..._tables import Organization, OrgMember, Session, User
from ...exceptions import TransferError
from ...orm import Conflict, DatabaseEngine
from ..accounts import new_stamp
from .kinds import IDENTITY, MEMBER, USER, Kind, Record

__all__ = ["Existing", "Report", "load"]

Existing = Literal["refuse", "keep", "update"]
"""What happens where a record differs from what is here."""

_BATCH = 512
_SHOWN = 20
_ENDS_SESSIONS = frozenset({"email", "password_hash", "is_active"})


@dataclass
class Report:
    """What an import did, or would do.

    Args:
        new, changed, unchanged, kept: Numbers of records, for each kind. ``kept`` are those that
            differ and were left as they are here, and what belongs to them.
        differences: The first records that differ, one line each, without values.
    """

    new: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    unchanged: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)

    def numbers(self) -> dict[str, dict[str, int]]:
        """Return the numbers alone."""
        return {name: getattr(self, name) for name in ("new", "changed", "unchanged", "kept")}

    def count(self, state: str, kind: Kind, number: int = 1) -> None:
        """Add to one of the numbers."""
        numbers = getattr(self, state)
        if number:
            numbers[kind.name] = numbers.get(kind.name, 0) + number

    def differs(self, record: Record, about: str) -> None:
        """Note a record that differs, if not too many were noted already."""
        if len(self.differences) < _SHOWN:
            self.differences.append(f"{record.place}: {record.kind.name} {_name(record)}: {about}")


def load(
    engine: DatabaseEngine,
    records: Iterable[Record],
    *,
    existing: Existing = "refuse",
    dry_run: bool = False,
    progress: Callable[[], object] = lambda: None,
) -> Report:
    """Write records; where anything is wrong with one, nothing of them is kept.

    A user whose password, address or activity changes loses all sessions and all mailed links.

    Args:
        existing: Where a record is here already and differs: ``"refuse"`` all, ``"keep"`` what is
            here, or ``"update"`` it.
        dry_run: Do all that and take it back. On SQLite, too, others cannot write meanwhile.
        progress: Is called now and then.

    Raises:
        TransferError: A record cannot be written; the message says which.
        AuthBackendError: The database failed.
    """
    loading = _Loading(engine, existing)
    try:
        with engine.transaction():
            engine.lift_limits()  # who sends the records may take their time
            loading.all(records, progress)
            loading.end(dry_run)
            Events(engine).record("accounts_imported", details=loading.report.numbers())
    except _TakeBackError:
        pass
    except Conflict as error:
        raise TransferError("records conflict with each other, or with what is here") from error
    return loading.report


class _TakeBackError(Exception):
    """Ends a dry run."""


class _Loading:
    def __init__(self, engine: DatabaseEngine, existing: Existing) -> None:
        self._engine = engine
        self._existing = existing
        self._left_out: set[str] = set()
        self.report = Report()

    def all(self, records: Iterable[Record], progress: Callable[[], object]) -> None:
        """Write records in batches of one kind each."""
        batch: dict[tuple[str, ...], Record] = {}
        names: set[str] = set()
        kind: Kind | None = None
        for record in records:
            key = record.kind.key_of(record.values)
            name = record.kind.unique and record.values[record.kind.unique]
            full = len(batch) == _BATCH or record.kind is not kind
            if batch and (full or key in batch or name in names):
                self._write(batch)
                progress()
                batch, names = {}, set()
            kind = record.kind
            batch[key] = record
            names |= {name} if name else set()
        if batch:
            self._write(batch)
        self._require_owners()
        progress()

    def end(self, dry_run: bool) -> None:
        """Raise where all is to be taken back: in a dry run, or where records differ."""
        if dry_run:
            raise _TakeBackError
        number = sum(self.report.changed.values())
        if number and self._existing == "refuse":
            first = self.report.differences[0]
            raise TransferError(
                f"{number} record{'s differ' if number > 1 else ' differs'} from what is here: "
                f"--existing keep or update decides; the first: {first}"
            )

    def _write(self, batch: dict[tuple[str, ...], Record]) -> None:
        kind = next(iter(batch.values())).kind
        batch = self._with_owners(kind, batch)
        extra = self._extra_values(kind, batch)
        written = set()
        for part in _in_powers_of_two(list(batch)):
            values = {
                f"{name}_{number}": value
                for number, key in enumerate(part)
                for name, value in {**batch[key].values, **extra[key]}.items()
            }
            rows = self._engine.fetch(_insert(kind, len(part)), **values)
            written |= {tuple(map(str, row)) for row in rows}
        self.report.count("new", kind, len(written))
        rest = {key: record for key, record in batch.items() if key not in written}
        if rest:
            self._meet(kind, rest)

    def _with_owners(
        self, kind: Kind, batch: dict[tuple[str, ...], Record]
    ) -> dict[tuple[str, ...], Record]:
        """Return the records that belong to somebody who is here; ``TransferError`` for others.

        What belongs to a record that was left out is left out, too.
        """
        if kind not in (IDENTITY, MEMBER):
            return batch
        needed = {record.values["user_id"] for record in batch.values()}
        here = self._here(User, needed)
        found = {}
        for key, record in batch.items():
            if {record.values["user_id"], record.values.get("org_id")} & self._left_out:
                self.report.count("kept", kind)
            elif record.values["user_id"] in here:
                found[key] = record
            else:
                raise TransferError(f"{record.place}: there is no user {record.values['user_id']}")
        return found

    def _extra_values(
        self, kind: Kind, batch: dict[tuple[str, ...], Record]
    ) -> dict[tuple[str, ...], dict[str, Any]]:
        """Return what the table has besides what a record says."""
        if kind is USER:
            return {key: {"token_stamp": new_stamp()} for key in batch}
        if kind is not MEMBER:
            return {key: {} for key in batch}
        orgs = self._here(Organization, {record.values["org_id"] for record in batch.values()})
        for record in batch.values():
            if record.values["org_id"] not in orgs:
                org = record.values["org_id"]
                raise TransferError(f"{record.place}: there is no organization {org}")
        return {
            key: {"org_created_at": orgs[record.values["org_id"]]} for key, record in batch.items()
        }

    def _here(self, model: Any, ids: Iterable[str]) -> dict[str, Any]:
        """Return which of the ids are here, with the time when each was made."""
        rows: list[Any] = []
        for part in _in_powers_of_two(sorted(ids)):
            values = {f"key_{number}": each for number, each in enumerate(part)}
            rows += self._engine.fetch(_made_at(model, len(part)), **values)
        return {str(row_id): moment for row_id, moment in rows}

    def _meet(self, kind: Kind, batch: dict[tuple[str, ...], Record]) -> None:
        """Compare records with those that are here."""
        for key, record in batch.items():
            values = {f"key_{number}": part for number, part in enumerate(key)}
            row = self._engine.fetch_one(_by_key(kind), **values)
            here = None if row is None else kind.values_of(row)
            if here is None:
                self._taken(record)
            elif here == record.values:
                self.report.count("unchanged", kind)
            else:
                self._changed(record, here)

    def _taken(self, record: Record) -> None:
        """Deal with a record whose address or slug another one has here."""
        name = record.kind.unique
        about = f"another {record.kind.name} here has this {name}"
        if self._existing != "keep":
            raise TransferError(f"{record.place}: {_name(record)}: {about}")
        self._left_out.add(record.values["id"])
        self.report.count("kept", record.kind)
        self.report.differs(record, about)

    def _changed(self, record: Record, here: dict[str, Any]) -> None:
        kind = record.kind
        fields = [name for name in kind.fields if here[name] != record.values[name]]
        if kind is IDENTITY and "user_id" in fields:
            raise TransferError(f"{record.place}: {_name(record)}: somebody else's here")
        self.report.differs(record, ", ".join(fields))
        if self._existing == "keep":
            self.report.count("kept", kind)
            return
        self.report.count("changed", kind)
        if self._existing == "update":
            self._update(record, fields)

    def _update(self, record: Record, fields: Sequence[str]) -> None:
        kind = record.kind
        try:
            with self._engine.savepoint():
                self._engine.execute(_update(kind), **record.values)
        except Conflict as error:
            about = f"another {kind.name} here has this {kind.unique}"
            raise TransferError(f"{record.place}: {_name(record)}: {about}") from error
        if kind is USER and _ENDS_SESSIONS & set(fields):
            self._engine.execute(_NEW_STAMP, id=record.values["id"], stamp=new_stamp())
            self._engine.execute(_END_SESSIONS, id=record.values["id"])

    def _require_owners(self) -> None:
        rows = self._engine.fetch(_OWNERLESS)
        if rows:
            slugs = ", ".join(slug for (slug,) in rows)
            raise TransferError(f"these organizations would have no owner: {slugs}")


def _name(record: Record) -> str:
    name = record.values.get("email") or record.values.get("slug")
    return str(name or " ".join(record.kind.key_of(record.values)))


def _in_powers_of_two(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    """Cut a list up so that few statements of different lengths are ever built."""
    start = 0
    while start < len(items):
        size = min(_BATCH, 1 << ((len(items) - start).bit_length() - 1))
        yield items[start : start + size]
        start += size


@functools.cache
def _insert(kind: Kind, count: int) -> Statement:
    columns = dict(kind.fields)
    if kind is USER:
        columns["token_stamp"] = User.token_stamp
    if kind is MEMBER:
        columns["org_created_at"] = OrgMember.org_created_at

    def build() -> Any:
        rows = [[Bind(f"{name}_{number}") for name in columns] for number in range(count)]
        return (
            kind.model.insert_many(rows, fields=list(columns.values()))
            .on_conflict_ignore()
            .returning(*(kind.fields[name] for name in kind.key))
        )

    return Statement(build)


@functools.cache
def _made_at(model: Any, count: int) -> Statement:
    def build() -> Any:
        keys = [Bind(f"key_{number}") for number in range(count)]
        return model.select(model.id, model.created_at).where(model.id.in_(keys))

    return Statement(build)


@functools.cache
def _by_key(kind: Kind) -> Statement:
    return Statement(lambda: kind.model.select(*kind.fields.values()).where(_is(kind, "key")))


@functools.cache
def _update(kind: Kind) -> Statement:
    def build() -> Any:
        values = {
            column: Bind(name) for name, column in kind.fields.items() if name not in kind.key
        }
        key = [kind.fields[name] == Bind(name) for name in kind.key]
        return kind.model.update(values).where(*key).returning(*_columns(kind))

    return Statement(build)


def _columns(kind: Kind) -> list[Any]:
    return [kind.fields[name] for name in kind.key]


def _is(kind: Kind, prefix: str) -> Any:
    parts = [column == Bind(f"{prefix}_{number}") for number, column in enumerate(_columns(kind))]
    return functools.reduce(lambda left, right: left & right, parts)


_NEW_STAMP = Statement(
    lambda: (
        User.update({User.token_stamp: Bind("stamp")})
        .where(User.id == Bind("id"))
        .returning(User.id)
    )
)
_END_SESSIONS = Statement(
    lambda: Session.delete().where(Session.user == Bind("id")).returning(Session.id)
)
_OWNERLESS = Statement(
    lambda: (
        Organization.select(Organization.slug)
        .where(
            ~peewee.fn.EXISTS(
                OrgMember.select(OrgMember.user_id).where(
                    OrgMember.org == Organization.id, OrgMember.role == OWNER
                )
            )
        )
        .order_by(Organization.slug)
        .limit(5)
    )
)
