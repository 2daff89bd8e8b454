"""What is set up wrong, or has gone wrong: one method for each thing to look at."""

from __future__ import annotations

import contextlib
import os
import secrets
from datetime import timedelta
from pathlib import Path

from .._local.events import Events
from .._local.outbox import Outbox
from .._migrations import pending
from .._pages import FROM_NEWEST
from ..config import NativeAuthConfig, ThrottleConfig
from ..exceptions import AuthError
from ..kv.base import KVClient
from ..models import Finding
from ..orm import DatabaseEngine, as_utc

__all__ = ["Doctor"]

_FEW_BYTES = 12
_SKEW = timedelta(minutes=5)
_LATE = timedelta(minutes=10)
_PRIVATE_SUFFIXES = ("", ".key", ".kv", ".mail")
_MANY = 100


class Doctor:
    """Looks at one client's settings, database and KV store."""

    def __init__(
        self, config: NativeAuthConfig, engine: DatabaseEngine, kv: KVClient | None
    ) -> None:
        self._config = config
        self._engine = engine
        self._kv = kv

    def settings(self, *, has_mail: bool) -> list[Finding]:
        """Find settings that are allowed and protect little."""
        findings = []
        if any(len(set(secret.encode())) < _FEW_BYTES for secret in self._all_secrets()):
            text = "A secret repeats a few characters: make one with secrets.token_urlsafe(48)."
            findings.append(_error("weak_secret", text))
        if self._config.password.hash_profile == "cheapest":
            text = 'Passwords are hashed with the profile "cheapest", which is there for tests.'
            findings.append(_error("cheap_hashes", text))
        if self._config.throttle == ThrottleConfig.off():
            findings.append(_warning("no_limits", "Limits are off: passwords can be guessed."))
        if self._config.enable_confirmation and not has_mail:
            text = "Confirmation is on, and no mail can be sent: pass email= to open_auth."
            findings.append(_error("no_mail", text))
        return findings

    def proxies(self, *, saw_direct_request: bool) -> list[Finding]:
        """Find trust in proxies that are not there."""
        if not saw_direct_request:
            return []
        text = (
            "trusted_proxies is set, and requests came without X-Forwarded-For: whoever reaches "
            "the application directly can choose the address that limits count by."
        )
        return [_warning("proxies_trusted_without_need", text)]

    def files(self) -> list[Finding]:
        """Find files of a SQLite database that others may read, where the system knows modes."""
        path = getattr(self._engine.database, "path", None)
        if path is None or os.name != "posix":
            return []
        places = [Path(f"{path}{suffix}") for suffix in _PRIVATE_SUFFIXES]
        return [
            _error("readable_by_others", f"{place.name} is open to others: chmod go= {place.name}")
            for place in places
            if place.exists() and place.stat().st_mode & 0o077
        ]

    def schema(self) -> list[Finding]:
        """Find a schema that is behind this version."""
        missing = pending(self._engine)
        if not missing:
            return []
        return [_error("schema_behind", f"connect() has yet to run: {', '.join(missing)}.")]

    def clock(self, events: Events) -> list[Finding]:
        """Find a clock that is behind what was written: expiry would come late."""
        newest = events.list(None, limit=1, after=FROM_NEWEST)
        if not newest or as_utc(newest[0].created_at) <= self._engine.now + _SKEW:
            return []
        ahead = as_utc(newest[0].created_at) - self._engine.now
        text = f"The newest event is {ahead} in the future: this machine's clock is behind."
        return [_error("clock_behind", text)]

    def mail(self, outbox: Outbox) -> list[Finding]:
        """Find mails that were given up, or that wait longer than they should."""
        findings = []
        given_up = outbox.undelivered(limit=_MANY, offset=0)
        if given_up:
            count = f"{len(given_up)}{' or more' * (len(given_up) == _MANY)}"
            text = f"Mails given up: {count}; see list_undelivered_mail()."
            findings.append(_warning("mail_undelivered", text))
        due = outbox.next_due()
        if due is not None and due < self._engine.now - _LATE:
            text = "Mails wait for longer than ten minutes: no worker runs; see deliver_mail()."
            findings.append(_warning("mail_waiting", text))
        return findings

    def kv(self) -> list[Finding]:
        """Find a KV store that keeps nothing."""
        if self._kv is None:
            return [_error("no_kv", "There is no KV store: no link can be mailed.")]
        key = f"{self._config.cache_prefix}:doctor:{secrets.token_hex(8)}".encode()
        kept = None
        with contextlib.suppress(AuthError):
            self._kv.set(key, b"1", ttl=60.0)
            kept = self._kv.get(key)
            self._kv.delete(key)
        if kept == b"1":
            return []
        return [_error("kv_unwritable", "The KV store cannot be written: nobody can sign in.")]

    def _all_secrets(self) -> tuple[str, ...]:
        return (self._config.jwt.secret, *self._config.jwt.previous_secrets)


def _error(code: str, message: str) -> Finding:
    return Finding(code=code, level="error", message=message)


def _warning(code: str, message: str) -> Finding:
    return Finding(code=code, level="warning", message=message)
