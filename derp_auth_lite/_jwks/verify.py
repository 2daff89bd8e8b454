"""Verifying a JSON Web Token of another service, strictly (RFC 7515, 7519, 8725)."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from .._clock import Clock
from .._http import parse_json
from ..exceptions import InvalidTokenError
from .base64url import decode

__all__ = ["ASYMMETRIC_ALGORITHMS", "KeySource", "unverified_claims", "verify_jwt"]

logger = logging.getLogger("derp_auth_lite.jwks")

ASYMMETRIC_ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
)
_MAX_CHARACTERS = 16_384
_LAST = 253_402_300_800
"""The first second of the year 10,000, which no date reaches."""


class KeySource(Protocol):
    """Where keys come from: a :class:`~.keys.JWKS`, or a backend's own."""

    def key(self, kid: str | None, alg: str) -> Any | None:
        """Return the key that a token with this header must be signed with, or ``None``.

        The answer is a public key, or bytes for an HMAC algorithm. A source gives a key for its own
        algorithm only, whatever the token says (RFC 8725, section 3.1).
        """


def verify_jwt(
    token: str,
    *,
    keys: KeySource,
    issuers: Collection[str],
    audience: str | None,
    clock: Clock,
    algorithms: Collection[str] = ASYMMETRIC_ALGORITHMS,
    leeway: float = 60.0,
    required: Collection[str] = ("exp", "sub"),
    name: str = "The service",
) -> dict[str, Any]:
    """Return the claims of *token*, once everything about it holds.

    First the form, then the algorithm and the key, then the signature, and only then the claims.
    Keys or addresses of keys in the header (``jwk``, ``jku``, ``x5c``, ``x5u``) are ignored, a
    header with ``crit`` is refused, ``typ`` may be anything.

    Args:
        keys: Where the key comes from.
        issuers: The values of ``iss`` that are right, compared as plain strings.
        audience: What ``aud`` must be or contain; ``None``: not looked at.
        clock: Tells the time.
        algorithms: The algorithms that are taken; ``none`` is never one.
        leeway: Seconds by which clocks may differ, for ``exp``, ``nbf`` and ``iat``.
        required: Claims that must be there; ``exp`` always must.
        name: The service's name in the log.

    Raises:
        InvalidTokenError: Something does not hold. The log says what.
        AuthBackendError: The keys cannot be had.
    """
    try:
        claims = _signed_claims(token, keys, algorithms)
        _check_times(claims, clock().timestamp(), leeway)
        _check_parties(claims, issuers, audience)
        _check_present(claims, required)
    except (ValueError, TypeError) as error:
        logger.info("%s: a token was refused: %s", name, error)
        reason = ValueError(str(error))
    else:
        return claims
    raise InvalidTokenError from reason


def unverified_claims(token: str) -> dict[str, Any]:
    """Return the claims of a token that came over our own call; nothing is verified.

    For looking into what the service has just sent (OWASP ASVS 5.0, 6.8.2), never for a token that
    a request brought. What is no token has no claims.
    """
    try:
        return _json_object(decode(token.split(".")[1]))
    except (IndexError, ValueError):
        return {}


def _signed_claims(token: str, keys: KeySource, algorithms: Collection[str]) -> dict[str, Any]:
    """Return the claims of a token whose signature is right.

    Raises:
        ValueError: The token is malformed, or no allowed key made its signature.
    """
    if len(token) > _MAX_CHARACTERS or token.count(".") != 2:
        raise ValueError("the token does not have three parts, or is too long")
    head, payload, signature = token.split(".")
    header = _json_object(decode(head))
    kid, alg = header.get("kid"), header.get("alg")
    if "crit" in header or "b64" in header:
        raise ValueError("the header asks for an extension")
    if not isinstance(alg, str) or alg not in algorithms or alg.lower() == "none":
        raise ValueError("the algorithm is not allowed")
    if kid is not None and not isinstance(kid, str):
        raise ValueError("kid is not a string")
    mark = decode(signature)
    key = keys.key(kid, alg)
    if key is None:
        raise ValueError("there is no such key for this algorithm")
    # Late: PyJWT takes 36 ms to import, 68 with cryptography.
    import jwt

    message = f"{head}.{payload}".encode("ascii")
    if not jwt.get_algorithm_by_name(alg).verify(message, key, mark):
        raise ValueError("the signature is wrong")
    return _json_object(decode(payload))


def _check_times(claims: Mapping[str, Any], now: float, leeway: float) -> None:
    times = {name: _time(claims[name]) for name in ("exp", "nbf", "iat") if name in claims}
    if "exp" not in times:
        raise ValueError("the claim exp is missing")
    if now >= times["exp"] + leeway:
        raise ValueError("the token has expired")
    if max(times.get("nbf", now), times.get("iat", now)) > now + leeway:
        raise ValueError("the token is not valid yet")


def _time(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LAST:
        raise ValueError("a time is not a number of seconds")
    return float(value)


def _check_parties(
    claims: Mapping[str, Any], issuers: Collection[str], audience: str | None
) -> None:
    if claims.get("iss") not in ((issuers,) if isinstance(issuers, str) else issuers):
        raise ValueError("the issuer is another")
    meant_for = claims.get("aud")
    if audience is not None and audience not in (
        meant_for if isinstance(meant_for, list) else [meant_for]
    ):
        raise ValueError("the audience is another")


def _check_present(claims: Mapping[str, Any], required: Collection[str]) -> None:
    for claim in required:
        if claims.get(claim) in (None, ""):
            raise ValueError(f"the claim {claim} is missing")
    if not isinstance(claims.get("sub", ""), str):
        raise ValueError("sub is not a string")


def _json_object(data: bytes) -> dict[str, Any]:
    value = parse_json(data)
    if not isinstance(value, dict):
        raise ValueError("a part of the token is not a JSON object")
    return value
