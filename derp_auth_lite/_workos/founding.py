"""Making an organization with its first owner: two calls, of which the second may never be made.

Who begins is noted in the KV store, so that whoever was told of a failure can call again and gets
what was begun. An organization that others made has no such note, and is nobody's to take.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import datetime, timedelta
from typing import Any

from .._clock import Clock
from .._keys import KeyRing
from .._local.org_fields import OWNER
from .._statements import from_microseconds, to_microseconds
from ..exceptions import (
    AuthBackendError,
    AuthError,
    InvalidProfileError,
    MemberAlreadyExistsError,
    OrgNotFoundError,
    OrgSlugConflictError,
)
from ..kv.base import KVClient
from ..models import OrgInfo
from .members import Members
from .orgs import Orgs

__all__ = ["Founding"]

_log = logging.getLogger(__name__)

_KEPT = timedelta(days=1)
_SKEW = timedelta(seconds=60)
_PURPOSE = "workos organization begun"


class Founding:
    """Makes organizations, and finishes those that were begun.

    Args:
        kv: Keeps the notes; without one nothing is finished.
    """

    def __init__(
        self, orgs: Orgs, members: Members, kv: KVClient | None, keys: KeyRing, clock: Clock
    ) -> None:
        self._orgs = orgs
        self._members = members
        self._kv = kv
        self._keys = keys
        self._clock = clock

    def found(self, fields: dict[str, Any], creator: str) -> OrgInfo:
        """Make an organization of checked fields, or finish what its creator began.

        Raises:
            OrgSlugConflictError: The slug is taken.
            InvalidProfileError: A field is more than the service keeps, or it has no role for
                owners.
        """
        with self._members.holding([f"slug:{fields['slug']}"]):
            earlier = self._begin(fields["slug"], creator)
            try:
                org = self._orgs.create(fields)
            except InvalidProfileError:
                self._forget(fields["slug"], creator)
                raise
            except OrgSlugConflictError:
                left = self._left_behind(fields, creator, earlier)
                if left is None:
                    self._forget(fields["slug"], creator)
                    raise
                org = self._orgs.update((left.id, None), _without_slug(fields))
            self._give(org, creator)
            self._forget(fields["slug"], creator)
        return org

    def _give(self, org: OrgInfo, creator: str) -> None:
        try:
            self._members.add(org.id, creator, OWNER)
        except MemberAlreadyExistsError:
            _log.info("the creator of an organization was its owner already")
        except BaseException:
            self._take_back(org, creator)
            raise

    def _take_back(self, org: OrgInfo, creator: str) -> None:
        """Delete an organization that could get no owner, since the service has no transaction."""
        try:
            self._orgs.delete(org.id)
        except AuthError:
            _log.error("an organization without an owner is left at WorkOS: %s", org.id)
        else:
            self._forget(org.slug, creator)

    def _left_behind(
        self, fields: dict[str, Any], creator: str, begun: datetime | None
    ) -> OrgInfo | None:
        """Return the organization with this slug if its creator began it and nobody else is in."""
        if begun is None:
            return None
        try:
            org = self._orgs.info((None, fields["slug"]))
            members = self._members.some(org.id, {"limit": 2, "offset": 0})
        except OrgNotFoundError:
            return None
        is_ours = org.name == fields["name"] and org.created_at >= begun - _SKEW
        return org if is_ours and all(it.user_id == creator for it in members) else None

    def _begin(self, slug: str, creator: str) -> datetime | None:
        """Note that a creator begins; return when an earlier call of theirs did and did not end."""
        if self._kv is None:
            return None
        key = _key(slug, creator)
        note = self._kv.get(key)
        known = None if note is None else self._moment(key, note)
        if known is not None:
            return known
        moment = str(to_microseconds(self._clock())).encode()
        mac = self._keys.mac(_PURPOSE, key + moment)
        self._kv.set(key, mac + moment, ttl=_KEPT.total_seconds())
        return None

    def _moment(self, key: bytes, note: bytes) -> datetime | None:
        """Return when a note was made; ``None`` for one that this library did not make."""
        mac, moment = note[:32], note[32:]
        if not self._keys.check(_PURPOSE, key + moment, mac):
            return None
        return from_microseconds(int(moment))

    def _forget(self, slug: str, creator: str) -> None:
        try:
            if self._kv is not None:
                self._kv.delete(_key(slug, creator))
        except AuthBackendError:  # it is over in a day
            _log.warning("a note of an organization that was begun could not be removed")


def _without_slug(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != "slug"}


def _key(slug: str, creator: str) -> bytes:
    named = f"{slug}\n{creator}".encode()
    return b"derp:auth:workos:begun:" + hashlib.sha256(named).hexdigest().encode()
