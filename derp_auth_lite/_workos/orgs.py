"""Organizations at the service: the slug is their external id, which the service keeps unique."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .._local.org_fields import as_slug
from ..exceptions import OrgNotFoundError
from ..models import CursorResult, Id, OrgInfo
from . import errors
from .api import WorkOS, as_key
from .lists import Lists
from .mapping import org_info
from .metadata import pack, tombstones

__all__ = ["Orgs", "Which", "which"]

_ORGS = "/organizations"
_ID = "org_"

Which = tuple[Id | None, str | None]
"""The id of an organization, or its slug."""


def which(org_id: Id | None, slug: str | None, slug_name: str = "slug") -> Which:
    """Check that one of the two is given.

    Raises:
        ValueError: Both or neither are.
    """
    if (org_id is None) == (slug is None):
        raise ValueError(f"give exactly one of org_id and {slug_name}")
    return org_id, slug


class Orgs:
    """Calls below ``/organizations``."""

    def __init__(self, api: WorkOS, lists: Lists) -> None:
        self._api = api
        self._lists = lists

    def get(self, which: Which) -> dict[str, Any]:
        """Return an organization as the service has it.

        Raises:
            OrgNotFoundError: There is none.
        """
        return self._api.get(_path(which), errors=errors.ORG)

    def info(self, which: Which) -> OrgInfo:
        """Return an organization's record.

        Raises:
            OrgNotFoundError: There is none.
        """
        return org_info(self.get(which))

    def key(self, which: Which) -> str:
        """Return the id of an organization; where an id is given, nobody is asked.

        Raises:
            OrgNotFoundError: There is none with this slug, or the id can be none's.
        """
        org_id, _ = which
        if org_id is not None:
            return as_key(org_id, OrgNotFoundError)
        return self.info(which).id

    def create(self, fields: dict[str, Any]) -> OrgInfo:
        """Make an organization of checked fields.

        Raises:
            OrgSlugConflictError: The slug is taken.
            InvalidProfileError: The metadata is more than the service keeps.
        """
        body = {"name": fields["name"], "external_id": fields["slug"]}
        if fields.get("metadata"):
            body["metadata"] = pack(fields["metadata"])
        made = self._api.post(_ORGS, body, errors=errors.ORG, about=fields["slug"])
        return org_info(made)

    def update(self, which: Which, changes: dict[str, Any]) -> OrgInfo:
        """Change an organization by checked fields.

        Raises:
            OrgNotFoundError: There is none.
            OrgSlugConflictError: The new slug is taken.
            InvalidProfileError: The metadata is more than the service keeps.
        """
        names = {"name": "name", "slug": "external_id"}
        body: dict[str, Any] = {names[n]: v for n, v in changes.items() if n in names}
        if "metadata" in changes:
            body["metadata"] = pack(changes["metadata"])
        if not body:
            return self.info(which)
        path = _path((self.key(which), None))
        about = changes.get("slug", "")
        org = self._api.put(path, body, errors=errors.ORG, about=about)
        gone = tombstones(body["metadata"], org.get("metadata")) if "metadata" in body else {}
        if gone:
            org = self._api.put(
                path, {"metadata": {**body["metadata"], **gone}}, errors=errors.ORG, about=about
            )
        return org_info(org)

    def delete(self, org_id: str) -> bool:
        """Delete an organization with its memberships; ``False`` if there is none."""
        try:
            self._api.call("DELETE", _path((org_id, None)), errors=errors.ORG)
        except OrgNotFoundError:
            return False
        return True

    def some(self, page: Mapping[str, int]) -> list[OrgInfo]:
        """Return organizations by limit and offset, the newest first."""
        return self._lists.some(_ORGS, org_info, errors={}, page=page)

    def page(self, limit: int, after: str | None) -> CursorResult[OrgInfo]:
        """Return a page of organizations, the newest first."""
        return self._lists.by_cursor(
            _ORGS, org_info, errors={}, name="orgs", limit=limit, after=after
        )

    def known(self, org_ids: list[str]) -> Iterator[OrgInfo]:
        """Return organizations by their ids, one call for each: the service has no other way."""
        for org_id in org_ids:
            try:
                yield self.info((org_id, None))
            except OrgNotFoundError:  # it was deleted meanwhile
                continue


def _path(which: Which) -> str:
    org_id, slug = which
    if org_id is None and isinstance(slug, str) and slug.startswith(_ID):
        org_id = slug  # an organization without a slug has its id for one
    if org_id is not None:
        return f"{_ORGS}/{as_key(org_id, OrgNotFoundError)}"
    key = as_slug(slug)
    if key is None:
        raise OrgNotFoundError
    return f"{_ORGS}/external_id/{key}"
