"""Access tokens: JSON Web Tokens signed with the configured secret.

The format is RFC 7519 in RFC 7515's compact form, with the type of RFC 9068. Any service that holds
the secret can verify a token with any JWT library.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from ._clock import Clock, utc_now
from ._keys import KeyRing
from ._recent import Recent
from .config import JWTConfig
from .exceptions import ConfigError

if TYPE_CHECKING:
    from jwt.algorithms import Algorithm

__all__ = ["AccessClaims", "AccessTokens", "TokenPair"]

_TYPE = "at+jwt"
_MAX_CHARACTERS = 8192
_KEY_FILE = re.compile(r"\s*(-----BEGIN |ssh-|ecdsa-sha2-|[{\[].*\"kty\")", re.DOTALL)
_SKEW = timedelta(seconds=60)
_MAX_TIMESTAMP = 253_402_300_799  # the last second of the year 9999, where datetime ends


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenPair:
    """What a sign-in hands out.

    ``expires_in`` (seconds) and ``expires_at`` (aware UTC) are the access token's end. The tokens
    do not show in the ``repr``.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    token_type: str = "bearer"
    expires_in: int
    expires_at: datetime


class AccessClaims(NamedTuple):
    """What a verified access token says. Times are aware UTC."""

    user_id: str
    session_id: str
    role: str
    org_id: str | None
    org_role: str | None
    issued_at: datetime
    expires_at: datetime


class AccessTokens:
    """Issues and verifies access tokens.

    The algorithm is the configured one, whatever a token says (RFC 8725, sections 3.1 and 3.2). The
    header is not interpreted: it is one of a few constants, one for each key, or the token is
    refused. So there is no ``alg`` to confuse, no ``crit`` to overlook, no ``jwk``, ``jku`` or
    ``x5u`` to follow.

    Args:
        clock: Tells when a token is made and whether it has expired.
        remember: How many verified tokens are kept, under their SHA-256, so that the same token is
            not verified twice; its times are checked at every use. 0 turns it off.

    Raises:
        ConfigError: A secret is the text of a key file.
    """

    def __init__(self, config: JWTConfig, *, clock: Clock = utc_now, remember: int = 4096) -> None:
        secrets = (config.secret, *config.previous_secrets)
        if any(map(_KEY_FILE.match, secrets)):
            raise ConfigError(
                "JWTConfig.secret must be random text, not a public or private key in PEM, SSH or"
                " JWK form (RFC 8725, section 2.1)"
            )
        self._algorithm_name = config.algorithm
        self._lifetime = config.access_token_expire_minutes * 60
        self._issuer = config.issuer
        self._audience = config.audience
        self._clock = clock
        self._keys: dict[bytes, bytes] = {}
        for secret in secrets:
            header = _header(config.algorithm, KeyRing(secret).kid)
            self._keys.setdefault(header, secret.encode())
        self._header, self._key = next(iter(self._keys.items()))
        self._verified: Recent[tuple[AccessClaims, datetime]] = Recent(remember)

    def __repr__(self) -> str:
        return f"AccessTokens(algorithm={self._algorithm_name!r}, keys={len(self._keys)})"

    def issue(
        self,
        *,
        user_id: str,
        session_id: str,
        role: str,
        org_id: str | None = None,
        org_role: str | None = None,
    ) -> tuple[str, datetime]:
        """Return a signed token and the moment at which it expires (aware UTC, whole seconds).

        Raises:
            ValueError: The claims are too long for a token that would be accepted.
        """
        issued_at = int(self._clock().timestamp())
        expires_at = issued_at + self._lifetime
        claims: dict[str, Any] = {
            "sub": user_id,
            "session_id": session_id,
            "role": role,
            "org_id": org_id,
            "org_role": org_role,
            "iat": issued_at,
            "exp": expires_at,
        }
        if self._issuer is not None:
            claims["iss"] = self._issuer
        if self._audience is not None:
            claims["aud"] = self._audience
        message = self._header + b"." + _encode(_to_json(claims).encode())
        token = message + b"." + _encode(self._algorithm.sign(message, self._key))
        if len(token) > _MAX_CHARACTERS:
            raise ValueError(f"an access token holds at most {_MAX_CHARACTERS} characters")
        return token.decode(), datetime.fromtimestamp(expires_at, UTC)

    def verify(self, token: object) -> AccessClaims | None:
        """Return what *token* says, or ``None`` if it is not ours or not valid now. Never raises.

        A token is valid until the second in which it expires (RFC 7519, section 4.1.4), without
        leeway. One that was issued more than 60 seconds from now is refused: machines' clocks
        differ a little, and what was made while a clock ran far ahead must not live on for long.
        """
        if not isinstance(token, str) or len(token) > _MAX_CHARACTERS:
            return None
        try:
            raw = token.encode("ascii")
            key = hashlib.sha256(raw).digest()
            known = self._verified.get(key)
            if known is None:
                payload = _signed_payload(raw, self._keys, self._algorithm)
                known = self._read(_from_json(payload.decode()))
                self._verified.add(key, known)
        except (ValueError, RecursionError):
            return None
        claims, not_before = known
        return claims if not_before <= self._clock() < claims.expires_at else None

    def _read(self, claims: Any) -> tuple[AccessClaims, datetime]:
        """Return what *claims* say, and the moment before which they do not hold.

        Raises:
            ValueError: A claim is missing, of the wrong type, or meant for another.
        """
        if not isinstance(claims, dict):
            raise ValueError("the claims are no object")
        if self._issuer is not None and claims.get("iss") != self._issuer:
            raise ValueError("the issuer is another")
        if not _is_meant_for(self._audience, claims.get("aud")):
            raise ValueError("the audience is another")
        issued_at = _time(claims.get("iat"))
        not_before = issued_at - _SKEW
        if "nbf" in claims:
            not_before = max(not_before, _time(claims["nbf"]))
        known = AccessClaims(
            user_id=_text(claims.get("sub")),
            session_id=_text(claims.get("session_id")),
            role=_text(claims.get("role")),
            org_id=_text_or_none(claims.get("org_id")),
            org_role=_text_or_none(claims.get("org_role")),
            issued_at=issued_at,
            expires_at=_time(claims.get("exp")),
        )
        return known, not_before

    @cached_property
    def _algorithm(self) -> Algorithm:
        # PyJWT takes 36 ms to import, 68 where cryptography is installed.
        import jwt

        return jwt.get_algorithm_by_name(self._algorithm_name)


def _header(algorithm: str, kid: str) -> bytes:
    return _encode(_to_json({"alg": algorithm, "kid": kid, "typ": _TYPE}).encode())


def _signed_payload(token: bytes, keys: Mapping[bytes, bytes], algorithm: Algorithm) -> bytes:
    """Return the payload of a compact JWS (RFC 7515, section 7.1), once its signature was verified.

    The signature is compared in its encoded form: it has only one.

    Args:
        keys: The key that belongs to each header that is taken, in the header's encoded form.

    Raises:
        ValueError: Not three parts, another header, a wrong signature, or a payload in a form of
            base64url that RFC 7515, section 2, does not know.
    """
    header, payload, signature = token.split(b".")
    key = keys.get(header)
    if key is None:
        raise ValueError("no key of ours has this header")
    expected = _encode(algorithm.sign(header + b"." + payload, key))
    if not hmac.compare_digest(expected, signature):
        raise ValueError("the signature is wrong")
    return _decode(payload)


def _encode(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _decode(text: bytes) -> bytes:
    data = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    if _encode(data) != text:
        raise ValueError("not the one base64url form of these bytes")
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice")
    return members


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


_to_json = json.JSONEncoder(separators=(",", ":")).encode
_from_json = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse).decode


def _is_meant_for(audience: str | None, claim: Any) -> bool:
    """RFC 7519, section 4.1.3: who is not among a token's audience must refuse it."""
    if audience is None or not isinstance(claim, list):
        return bool(claim == audience)
    return audience in claim


def _time(value: Any) -> datetime:
    if type(value) is not int or not 0 <= value <= _MAX_TIMESTAMP:
        raise ValueError("not a time in whole seconds")
    return datetime.fromtimestamp(value, UTC)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("not a text, or empty")
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)
