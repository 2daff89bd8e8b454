"""Organizations: the table ``auth_organizations``."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import peewee

from .._pages import Position
from .._records import ORG_COLUMNS, OrgRecord, new_id
from .._statements import Bind, Statement
from .._tables import Organization, OrgMember
from ..exceptions import OrgSlugConflictError
from ..orm import Conflict, DatabaseEngine

__all__ = ["Orgs"]


def _with_slug() -> Any:
    return Organization.slug == Bind("slug")


def _with_id() -> Any:
    return Organization.id == Bind("id")


def _page(position: tuple[Any, Any], query: Any) -> Any:
    return (
        query.where(peewee.Tuple(*position) < peewee.Tuple(Bind("after_time"), Bind("after_id")))
        .order_by(*(column.desc() for column in position))
        .limit(Bind("limit"))
        .offset(Bind("offset"))
    )


def _list() -> Any:
    return _page((Organization.created_at, Organization.id), Organization.select(*ORG_COLUMNS))


def _list_of_user() -> Any:
    """Walk the user's memberships, which know when each organization was made."""
    return _page(
        (OrgMember.org_created_at, OrgMember.org),
        OrgMember.select(*ORG_COLUMNS)
        .join(Organization, on=(Organization.id == OrgMember.org))
        .where(OrgMember.user_id == Bind("user_id")),
    )


_BY_ID = Statement(lambda: Organization.select(*ORG_COLUMNS).where(_with_id()), repeatable=True)
_BY_SLUG = Statement(lambda: Organization.select(*ORG_COLUMNS).where(_with_slug()), repeatable=True)
_LOCK_BY_ID = Statement(lambda: Organization.select(*ORG_COLUMNS).where(_with_id()), lock=True)
_LOCK_BY_SLUG = Statement(lambda: Organization.select(*ORG_COLUMNS).where(_with_slug()), lock=True)
_LOCK_OF_USER = Statement(
    lambda: (
        Organization.select(Organization.id)
        .where(
            Organization.id.in_(
                OrgMember.select(OrgMember.org).where(OrgMember.user_id == Bind("user_id"))
            )
        )
        .order_by(Organization.id)
    ),
    lock=True,
)
_LIST = Statement(_list, repeatable=True)
_LIST_OF_USER = Statement(_list_of_user, repeatable=True)
_INSERT = Statement(
    lambda: (
        Organization.insert({column: Bind(column.name) for column in ORG_COLUMNS})
        .on_conflict(conflict_target=[Organization.slug], action="nothing")
        .returning(*ORG_COLUMNS)
    )
)
_DELETE = Statement(lambda: Organization.delete().where(_with_id()).returning(Organization.id))


@functools.cache
def _update(columns: frozenset[str]) -> Statement:
    """Return the statement that sets just *columns*; there are eight such sets."""
    return Statement(
        lambda: (
            Organization.update({getattr(Organization, name): Bind(name) for name in columns})
            .where(_with_id())
            .returning(*ORG_COLUMNS)
        )
    )


class Orgs:
    """The organizations of one database."""

    def __init__(self, engine: DatabaseEngine) -> None:
        self._engine = engine

    def find(self, org_id: str | None, slug: str | None = None) -> OrgRecord | None:
        """Return the organization with that id, or with that slug where the id is ``None``."""
        return self._one(_BY_ID, _BY_SLUG, org_id, slug)

    def lock(self, org_id: str | None, slug: str | None = None) -> OrgRecord | None:
        """Find an organization, and let nobody else lock it until the transaction ends.

        Whoever changes who its owners are does this first, hence sees all that others did before.
        """
        return self._one(_LOCK_BY_ID, _LOCK_BY_SLUG, org_id, slug)

    def lock_all_of(self, user_id: str) -> None:
        """Lock the organizations of a user, in the order of their ids so that nobody deadlocks."""
        self._engine.send(_LOCK_OF_USER, user_id=user_id)

    def page(
        self, user_id: str | None, *, limit: int, offset: int = 0, after: Position
    ) -> list[OrgRecord]:
        """Return organizations, the newest first: those of one user, or all."""
        rows = self._engine.fetch(
            _LIST if user_id is None else _LIST_OF_USER,
            user_id=user_id,
            after_time=after[0],
            after_id=after[1],
            limit=limit,
            offset=offset,
        )
        return [OrgRecord._make(row) for row in rows]

    def create(self, fields: Mapping[str, Any]) -> OrgRecord:
        """Add an organization.

        Args:
            fields: ``name``, ``slug``, and ``metadata`` if there is any.

        Raises:
            OrgSlugConflictError: The slug is taken, or somebody was faster.
        """
        now = self._engine.now
        values = {"metadata": {}, **fields, "id": new_id(), "created_at": now, "updated_at": now}
        row = self._engine.fetch_one(_INSERT, **values)
        if row is None:
            raise OrgSlugConflictError(values["slug"])
        return OrgRecord._make(row)

    def update(self, org_id: str, changes: Mapping[str, Any]) -> OrgRecord | None:
        """Set columns of an organization; ``None`` where there is no such organization.

        Raises:
            OrgSlugConflictError: Another one has the slug.
        """
        values = {**changes, "updated_at": self._engine.now}
        try:
            with self._engine.savepoint():
                row = self._engine.fetch_one(_update(frozenset(values)), id=org_id, **values)
        except Conflict:
            raise OrgSlugConflictError(str(changes.get("slug"))) from None
        return None if row is None else OrgRecord._make(row)

    def delete(self, org_id: str) -> None:
        """Remove an organization that has no members any more."""
        self._engine.send(_DELETE, id=org_id)

    def _one(
        self, by_id: Statement, by_slug: Statement, org_id: str | None, slug: str | None
    ) -> OrgRecord | None:
        row = None
        if org_id is not None:
            row = self._engine.fetch_one(by_id, id=org_id)
        elif slug is not None:
            row = self._engine.fetch_one(by_slug, slug=slug)
        return None if row is None else OrgRecord._make(row)
