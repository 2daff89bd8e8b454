"""The fake project's keys: what signs its access tokens, and its published key set."""

from __future__ import annotations

import itertools
from typing import Any, Literal

__all__ = ["Algorithm", "Signer"]

Algorithm = Literal["ES256", "RS256", "HS256"]


class Signer:
    """Signs and verifies access tokens.

    Args:
        alg: What tokens are signed with.
        secret: The legacy secret, which the project takes besides; empty: it takes none.
    """

    def __init__(self, alg: Algorithm, secret: str) -> None:
        self.alg = alg
        self.secret = secret
        self._numbers = itertools.count(1)
        self.rotate()

    def rotate(self) -> None:
        """Sign with a new key from now on; the old one is published no more."""
        self.kid = f"key-{next(self._numbers)}"
        self._key = self.secret if self.alg == "HS256" else _new_key(self.alg)

    def sign(self, claims: dict[str, Any]) -> str:
        """Return a token."""
        import jwt

        headers = {} if self.alg == "HS256" else {"kid": self.kid}
        return jwt.encode(claims, self._key, self.alg, headers=headers)

    def verify(self, token: str) -> dict[str, Any] | None:
        """Return the claims of a token whose signature is right, whatever its age."""
        import jwt

        try:
            legacy = jwt.get_unverified_header(token).get("alg") == "HS256"
            key = self.secret if legacy else self._public()
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=["HS256" if legacy else self.alg],
                options={"verify_exp": False, "verify_iat": False, "verify_aud": False},
            )
        except (jwt.PyJWTError, ValueError):
            return None
        return claims

    def published(self) -> list[dict[str, Any]]:
        """Return the key set; secrets are never in it."""
        if self.alg == "HS256":
            return []
        import jwt

        entry = jwt.get_algorithm_by_name(self.alg).to_jwk(self._public(), as_dict=True)
        return [{**entry, "kid": self.kid, "use": "sig", "alg": self.alg}]

    def _public(self) -> Any:
        return self._key if isinstance(self._key, str) else self._key.public_key()


def _new_key(alg: Algorithm) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa  # an extra, and slow to import

    if alg == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
