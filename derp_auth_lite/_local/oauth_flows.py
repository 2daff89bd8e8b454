"""Sign-ins at a provider that were begun and not yet finished.

A flow is known by its ``state``, good once and for ten minutes. The PKCE verifier and the nonce are
computed from the state and the secret, so that neither leaves this library before its time, and a
copy of the KV store holds none of the three (RFC 9700, sections 2.1 and 4.7; RFC 7636).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import asdict, dataclass
from datetime import timedelta

from .._clock import Clock
from .._keys import KeyRing
from ..exceptions import InvalidCredentialsError
from ..kv.base import KVClient
from .sealed import SealedRecords

__all__ = ["NOT_GIVEN", "Flow", "OAuthFlows"]

LIFETIME = timedelta(minutes=10)


class _NotGiven(str):
    """A text like no other: a request may carry the same characters, but never this object."""

    __slots__ = ()


NOT_GIVEN: str = _NotGiven("<not given>")
"""Stands for a keyword that was left out, where ``None`` is what a bad request carries."""


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What a state stands for.

    Args:
        redirect_uri: The one that the provider was told, if not the configured one.
        binding_hash: SHA-256 of the secret that the browser keeps.
        user_id: The signed-in user who links an identity; none in a sign-in.
    """

    provider: str
    redirect_uri: str | None
    binding_hash: str
    user_id: str | None = None


class OAuthFlows:
    """Begins flows and ends each once; arguments as those of :class:`.sealed.SealedRecords`."""

    def __init__(self, kv: KVClient | None, keys: KeyRing, *, clock: Clock, prefix: str) -> None:
        self._records = SealedRecords(kv, keys, clock=clock, prefix=prefix, purpose="oauth state")
        self._keys = keys

    def begin(
        self, provider: str, *, redirect_uri: str | None, user_id: str | None
    ) -> tuple[str, str]:
        """Return the state of a new flow, and the secret that binds it to a browser."""
        binding = secrets.token_urlsafe(32)
        flow = Flow(
            provider=provider,
            redirect_uri=redirect_uri,
            binding_hash=_hash(binding),
            user_id=user_id,
        )
        return self._records.issue(asdict(flow), LIFETIME), binding

    def end(
        self,
        state: str | None,
        *,
        provider: str,
        binding: str | None,
        user_id: str | None,
    ) -> Flow:
        """Return the flow of *state* and spend it; of many callers at once one gets it.

        Args:
            binding: From the browser; held against the flow unless it is ``NOT_GIVEN``.
            user_id: Whose link this must be; ``None`` for a sign-in.

        Raises:
            InvalidCredentialsError: The state is unknown, over, used, of another provider, another
                browser or another purpose.
            AuthBackendError: The KV store failed.
        """
        fields = self._records.read(state)
        if state is None or fields is None:
            raise _refusal()
        flow = Flow(**fields)
        if flow.provider != provider or flow.user_id != user_id:
            raise _refusal()
        if binding is not NOT_GIVEN and not _is_hash_of(binding or "", flow.binding_hash):
            raise _refusal()
        if not self._records.remove(state):
            raise _refusal()
        return flow

    def verifier(self, state: str) -> str:
        """Return the flow's PKCE code verifier: 43 characters (RFC 7636, section 4.1)."""
        return self._derived("oauth code verifier", state)

    def nonce(self, state: str) -> str:
        """Return the nonce that the flow's id token must repeat."""
        return self._derived("oauth nonce", state)

    def _derived(self, purpose: str, state: str) -> str:
        mac = self._keys.mac(purpose, state.encode())
        return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def _hash(binding: str) -> str:
    return hashlib.sha256(binding.encode("utf-8", "surrogatepass")).hexdigest()


def _is_hash_of(binding: str, binding_hash: str) -> bool:
    return hmac.compare_digest(_hash(binding), binding_hash)


def _refusal() -> InvalidCredentialsError:
    return InvalidCredentialsError("This sign-in was not begun here, or is over: begin again")
