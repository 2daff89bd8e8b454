"""Sign-ins by PKCE that were begun and not yet finished, at providers and by mail.

A flow is known by its state, good once. The verifier is computed from the state and a secret, so
that a copy of the KV store holds nothing that could be presented; what is kept carries a MAC, so
that who writes there forges nothing (RFC 7636; RFC 9700, section 4.7).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import timedelta
from urllib.parse import urlencode, urlsplit, urlunsplit

from .._keys import KeyRing
from .._local.oauth_flows import NOT_GIVEN
from ..exceptions import AuthNotConnectedError
from ..kv.base import KVClient
from ..providers.pkce import challenge_s256

__all__ = ["MAIL", "OAUTH", "Flows", "new_state", "with_state"]

OAUTH = "oauth"
MAIL = "mail"
_HASH_BYTES = 32
_LIFETIMES = {OAUTH: timedelta(minutes=10), MAIL: timedelta(hours=24)}


class Flows:
    """Begins flows and ends each once."""

    def __init__(self, kv: KVClient | None, keys: KeyRing) -> None:
        self._store = kv
        self._keys = keys

    def begin(self, kind: str, about: str, state: str, binding: str = "") -> str:
        """Note a flow and return its code challenge.

        Args:
            about: The provider, or the kind of mail; the flow ends with the same.
            binding: The secret that one browser keeps, if one does.

        Raises:
            AuthBackendError: The KV store failed.
        """
        key, browser = self._key(kind, about, state), _hash(binding)
        kept = browser + self._keys.mac("flow", key + browser)
        self._kv.set(key, kept, ttl=_LIFETIMES[kind].total_seconds())
        return challenge_s256(self._verifier(kind, state))

    def end(
        self, kind: str, about: str, state: str | None, binding: str | None = NOT_GIVEN
    ) -> str | None:
        """Spend a flow and return its verifier.

        ``None`` for a flow that is unknown, over, spent, or another browser's; that last one is not
        spent by it.

        Raises:
            AuthBackendError: The KV store failed.
        """
        if not isinstance(state, str):
            return None
        key = self._key(kind, about, state)
        kept = self._kv.get(key) or b""
        browser, mac = kept[:_HASH_BYTES], kept[_HASH_BYTES:]
        same = hmac.compare_digest(_hash(binding or ""), browser) and bool(binding)
        if not (same or binding is NOT_GIVEN) or not self._keys.check("flow", key + browser, mac):
            return None
        return self._verifier(kind, state) if self._kv.delete(key) else None

    @property
    def _kv(self) -> KVClient:
        if self._store is None:
            raise AuthNotConnectedError("The auth client has no KV store: call set_kv() first")
        return self._store

    def _verifier(self, kind: str, state: str) -> str:
        mac = self._keys.mac(f"{kind} code verifier", state.encode("utf-8", "surrogatepass"))
        return base64.urlsafe_b64encode(mac).decode().rstrip("=")

    def _key(self, kind: str, about: str, state: str) -> bytes:
        named = f"{kind}\n{about}\n{state}".encode("utf-8", "surrogatepass")
        return b"derp:auth:supabase:flow:" + hashlib.sha256(named).hexdigest().encode()


def _hash(binding: str) -> bytes:
    return hashlib.sha256(binding.encode("utf-8", "surrogatepass")).digest()


def new_state() -> str:
    """Return a state, or a binding, that nobody can guess."""
    return secrets.token_urlsafe(32)


def with_state(url: str, state: str) -> str:
    """Return *url* with ``state`` added to its query.

    The service owns its own ``state`` parameter, and a foreign one would replace it; what is in the
    query of ``redirect_to`` comes back beside the code.
    """
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, urlencode({"state": state}))))
    return urlunsplit(parts._replace(query=query))
