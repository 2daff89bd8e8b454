"""Keys of a made-up service, its JWK set, and tokens signed with them, right or wrong."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

__all__ = ["b64", "ec_key", "jwk", "public_pem", "rsa_key", "sign"]


@functools.cache
def rsa_key(name: str = "first", bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return the RSA key of this name, made once."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@functools.cache
def ec_key(name: str = "first", curve: type[ec.EllipticCurve] = ec.SECP256R1) -> Any:
    """Return the EC key of this name, made once."""
    return ec.generate_private_key(curve())


def public_pem(key: Any) -> bytes:
    """Return the public half as PEM."""
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def b64(data: bytes) -> str:
    """Encode as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk(key: Any, kid: str | None = "k1", **members: Any) -> dict[str, Any]:
    """Return the public half of *key* as a JWK; a member that is None is left out."""
    numbers = key.public_key().public_numbers()
    if isinstance(key, rsa.RSAPrivateKey):
        own = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e), "alg": "RS256"}
    else:
        curve = {256: "P-256", 384: "P-384", 521: "P-521"}[key.curve.key_size]
        size = (key.curve.key_size + 7) // 8
        x, y = numbers.x.to_bytes(size, "big"), numbers.y.to_bytes(size, "big")
        own = {"kty": "EC", "crv": curve, "x": b64(x), "y": b64(y)}
    entry = {**own, "use": "sig", "kid": kid, **members}
    return {name: value for name, value in entry.items() if value is not None}


def sign(
    claims: dict[str, Any] | bytes,
    key: Any,
    *,
    alg: str = "RS256",
    kid: str | None = "k1",
    header: dict[str, Any] | None = None,
) -> str:
    """Sign *claims*; for HS256 *key* is bytes, for none there is no signature."""
    head = {"alg": alg, "typ": "JWT", "kid": kid, **(header or {})}
    head = {name: value for name, value in head.items() if value is not None}
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    message = f"{b64(json.dumps(head).encode())}.{b64(payload)}".encode()
    if alg == "HS256":
        signature = hmac.digest(key, message, hashlib.sha256)
    elif alg.lower() == "none":
        signature = b""
    else:
        signature = jwt.get_algorithm_by_name(alg).sign(message, key)
    return f"{message.decode()}.{b64(signature)}"


def _number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))
