"""The public keys of another service (RFC 7517), fetched seldom and never on a stranger's word."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from .._clock import Clock
from .._http import HTTPClient, Remembered
from ..exceptions import AuthBackendError, ConfigError
from .base64url import decode
from .verify import ASYMMETRIC_ALGORITHMS

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["JWKS", "require_cryptography"]

logger = logging.getLogger("derp_auth_lite.jwks")

_EC_ALGORITHMS = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_RSA_BITS = range(2048, 8193)  # RFC 7518, section 3.3, and a bound on the work that a key makes
_MAX_KEYS = 100


class JWKS:
    """Keys of a JWK set, each with the one algorithm that it may be used with.

    The algorithm comes from the key: its ``alg``, else its curve, else RS256. Keys that are meant
    for encryption, symmetric keys, RSA keys under 2048 bits and malformed ones are passed over.

    Args:
        url: Where the set lies; a path where *http* has a base URL.
        http: Sends the request.
        clock: Tells the time.
        lifetime: Seconds that a fetched set counts as fresh.
        min_interval: Shortest time between two fetches, in seconds, whatever tokens name: a
            thousand unknown key ids cause one fetch.
        algorithms: The algorithms that are taken.
        extra: The extra of this library that brings ``cryptography``.

    Raises:
        ConfigError: ``cryptography`` is not installed.
    """

    def __init__(
        self,
        url: str,
        http: HTTPClient,
        *,
        clock: Clock,
        lifetime: float = 600.0,
        min_interval: float = 60.0,
        algorithms: Collection[str] = ASYMMETRIC_ALGORITHMS,
        extra: str = "oidc",
    ) -> None:
        require_cryptography(extra)
        self._url = url
        self._http = http
        self._algorithms = frozenset(algorithms)
        self._remembered = Remembered(
            self._fetch,
            clock=clock,
            lifetime=timedelta(seconds=lifetime),
            min_interval=timedelta(seconds=min_interval),
        )

    def key(self, kid: str | None, alg: str) -> Any | None:
        """Return the public key *kid* if it is one for *alg*; ``None`` if there is no such key.

        A token without a ``kid`` is taken where the set has exactly one key for its algorithm
        (OpenID Connect Core, 10.1).

        Raises:
            AuthBackendError: The key is not known, and the set cannot be fetched. Known keys go on
                being served meanwhile, for a day at most.
        """
        if alg not in self._algorithms:
            return None
        known = _find(self._remembered.get(), kid, alg)
        return known if known is not None else _find(self._remembered.newer(), kid, alg)

    def is_empty(self) -> bool:
        """Tell whether the set has no key that could be used.

        Raises:
            AuthBackendError: The set cannot be fetched.
        """
        return not self._remembered.get()

    def _fetch(self) -> Mapping[tuple[str | None, str], list[Any]]:
        """Fetch the set: (kid, algorithm) -> keys."""
        entries = self._http.request("GET", self._url).json_object().get("keys")
        if not isinstance(entries, list):  # a page of a proxy, say: known keys serve on
            raise AuthBackendError(f"{self._http.name} answered with something other than keys")
        keys: dict[tuple[str | None, str], list[Any]] = {}
        for entry in entries[:_MAX_KEYS]:
            try:
                kid, alg, key = _read(entry)
            except (ValueError, TypeError, KeyError) as error:
                logger.info("%s: a key was passed over: %s", self._http.name, type(error).__name__)
                continue
            if alg in self._algorithms:
                keys.setdefault((kid, alg), []).append(key)
        return keys


def require_cryptography(extra: str) -> None:
    """Make sure that signatures can be verified.

    Raises:
        ConfigError: The package is missing; the message says which extra brings it.
    """
    try:
        import cryptography  # noqa: F401  (only that it is there matters)
    except ImportError as error:
        raise ConfigError(
            "Verifying another service's tokens needs the cryptography package: "
            f'pip install "derp_auth_lite[{extra}]"'
        ) from error


def _find(
    keys: Mapping[tuple[str | None, str], list[Any]], kid: str | None, alg: str
) -> Any | None:
    if kid is None:
        found = [key for (_, known), group in keys.items() if known == alg for key in group]
    else:
        found = keys.get((kid, alg), [])
    return found[0] if len(found) == 1 else None


def _read(entry: Any) -> tuple[str | None, str, Any]:
    """Read one JWK: its id, its algorithm, its public key.

    Raises:
        ValueError: (or TypeError, KeyError) It is not a public key that verifies signatures.
    """
    if not isinstance(entry, dict):
        raise ValueError("not a JSON object")
    kid, use, operations = entry.get("kid"), entry.get("use", "sig"), entry.get("key_ops")
    if use != "sig" or (operations is not None and "verify" not in operations):
        raise ValueError("not a key for signatures")
    if kid is not None and not isinstance(kid, str):
        raise ValueError("kid is not a string")
    key: RSAPublicKey | EllipticCurvePublicKey
    if entry["kty"] == "RSA":
        alg, key = entry.get("alg", "RS256"), _rsa_key(entry)
        fits = alg in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
    elif entry["kty"] == "EC":
        alg, key = entry.get("alg", _EC_ALGORITHMS[entry["crv"]]), _ec_key(entry)
        fits = alg == _EC_ALGORITHMS[entry["crv"]]
    else:
        raise ValueError("neither RSA nor EC")
    if not fits:
        raise ValueError("the algorithm does not fit the key")
    return kid, alg, key


def _rsa_key(entry: Mapping[str, Any]) -> RSAPublicKey:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    n, e = (int.from_bytes(decode(entry[name])) for name in ("n", "e"))
    if n.bit_length() not in _RSA_BITS or e.bit_length() > 64:
        raise ValueError("the RSA key is too short or too long")
    return RSAPublicNumbers(e, n).public_key()


def _ec_key(entry: Mapping[str, Any]) -> EllipticCurvePublicKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    curves: dict[str, ec.EllipticCurve] = {
        "P-256": ec.SECP256R1(),
        "P-384": ec.SECP384R1(),
        "P-521": ec.SECP521R1(),
    }
    curve = curves[entry["crv"]]
    x, y = (int.from_bytes(decode(entry[name])) for name in ("x", "y"))
    return ec.EllipticCurvePublicNumbers(x, y, curve).public_key()
