"""Hashes that other systems made, taken as they are until their owners sign in.

Of Django: ``pbkdf2_sha256$``, ``pbkdf2_sha1$``, ``scrypt$``, ``argon2$``, ``bcrypt$`` and
``bcrypt_sha256$``; of Werkzeug (Flask): ``scrypt:`` and ``pbkdf2:``; of passlib:
``$pbkdf2-sha256$`` and ``$pbkdf2-sha512$``; of Flask-Security, which hashes an HMAC of the
password; bcrypt by itself, as Supabase and many others keep it. A hash is renewed with Argon2id at
the first sign-in that matches.

Until then verifying one takes as long as it took there, not as long as Argon2: time can tell that
an account came from elsewhere and has not been signed in to since. Running Argon2 as well would
hide nothing, since both together take longer still.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import re
from collections.abc import Callable

from ..exceptions import ConfigError

__all__ = ["double_hash", "is_foreign", "matches", "require_package", "unwrapped"]

logger = logging.getLogger("derp_auth_lite.password")

_MOST_ROUNDS = 10_000_000
_MOST_MEMORY = 1 << 28
_MOST_WORK = 1 << 24
_LONGEST_BCRYPT_COST = 16
_BCRYPT_BYTES = 72

_BCRYPT = r"\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}"
_IS_BCRYPT = re.compile(rf"(?:bcrypt(?:_sha256)?\$)?{_BCRYPT}")
_URLSAFE = r"(?:[A-Za-z0-9_-]{4}){0,256}(?:[A-Za-z0-9_-]{2}==|[A-Za-z0-9_-]{3}=)?"
_DOUBLE = re.compile(rf"flask_security\$(?P<salt>{_URLSAFE})\$(?P<hash>\S{{1,512}})")
_BASE64 = r"[A-Za-z0-9+/]{20,120}={0,2}"
_NUMBER = r"[0-9]{1,8}"


def double_hash(hashed: str, salt: str) -> str:
    """Return how a hash of Flask-Security's is kept: with the application's own salt before it.

    Args:
        salt: ``SECURITY_PASSWORD_SALT``, the key of the HMAC that was hashed.
    """
    return f"flask_security${base64.urlsafe_b64encode(salt.encode()).decode()}${hashed}"


def unwrapped(password: str, hashed: str) -> tuple[str, str]:
    """Return what is really hashed, and the hash itself: Argon2's of Django, or within a wrap."""
    double = _DOUBLE.fullmatch(hashed)
    if double is not None:
        key = base64.urlsafe_b64decode(double["salt"])
        mac = hmac.digest(key, password.encode(), "sha512")
        password, hashed = base64.b64encode(mac).decode(), double["hash"]
    if hashed.startswith("argon2$argon2"):
        hashed = hashed.removeprefix("argon2")
    return password, hashed


def is_foreign(hashed: str) -> bool:
    """Tell whether *hashed* is a hash of one of these systems, at a cost within reason."""
    found = [match for form, _ in _KINDS if (match := form.fullmatch(hashed))]
    return bool(found) and _is_affordable(found[0])


def require_package(hashed: str) -> None:
    """Raise where *hashed* can only be verified with a package that is missing.

    Raises:
        ConfigError: It is bcrypt's, and the extra ``bcrypt`` is not installed.
    """
    if _IS_BCRYPT.fullmatch(unwrapped("", hashed)[1]):
        try:
            import bcrypt  # noqa: F401  an extra
        except ImportError as error:
            raise ConfigError(
                'bcrypt hashes need a package: pip install "derp_auth_lite[bcrypt]"'
            ) from error


def matches(password: str, hashed: str) -> bool | None:
    """Tell whether *hashed* was made from *password*; ``None`` if that cannot be found out.

    A hash of no system that is known here is one of those. The password is taken as it was typed,
    which is how these systems took it. A cost beyond reason is not computed, so that an import
    cannot hold up every sign-in.
    """
    for form, verify in _KINDS:
        found = form.fullmatch(hashed)
        if found is not None:
            if not _is_affordable(found):
                logger.warning("a foreign hash cannot be verified: its cost is beyond reason")
                return None
            try:
                return verify(password.encode(), found)
            except (ImportError, ValueError, MemoryError, binascii.Error) as error:
                logger.warning("a foreign hash cannot be verified: %s", type(error).__name__)
                return None
    return None


def _is_affordable(found: re.Match[str]) -> bool:
    parts = found.groupdict()
    if "rounds" in parts:
        return 0 < int(parts["rounds"]) <= _MOST_ROUNDS
    if "hash" in parts:
        return int(parts["hash"][4:6]) <= _LONGEST_BCRYPT_COST
    n, r, p = (int(parts[name]) for name in "nrp")
    is_power_of_two = n > 1 and n & (n - 1) == 0  # RFC 7914, section 2
    affordable = _scrypt_memory(n, r, p) <= _MOST_MEMORY and n * r * p <= _MOST_WORK
    return is_power_of_two and affordable and r > 0 and p > 0


def _django_pbkdf2(password: bytes, found: re.Match[str]) -> bool:
    salt, digest = found["salt"].encode(), base64.b64decode(found["digest"], validate=True)
    return _same(_pbkdf2(found["name"], password, salt, int(found["rounds"])), digest)


def _werkzeug_pbkdf2(password: bytes, found: re.Match[str]) -> bool:
    salt, digest = found["salt"].encode(), bytes.fromhex(found["digest"])
    return _same(_pbkdf2(found["name"], password, salt, int(found["rounds"])), digest)


def _passlib_pbkdf2(password: bytes, found: re.Match[str]) -> bool:
    salt, digest = _passlib_bytes(found["salt"]), _passlib_bytes(found["digest"])
    return _same(_pbkdf2(found["name"], password, salt, int(found["rounds"])), digest)


def _passlib_bytes(text: str) -> bytes:
    return base64.b64decode(f"{text}{'=' * (-len(text) % 4)}", altchars=b"./", validate=True)


def _django_scrypt(password: bytes, found: re.Match[str]) -> bool:
    return _same(_scrypt(password, found), base64.b64decode(found["digest"], validate=True))


def _werkzeug_scrypt(password: bytes, found: re.Match[str]) -> bool:
    return _same(_scrypt(password, found), bytes.fromhex(found["digest"]))


def _plain_bcrypt(password: bytes, found: re.Match[str]) -> bool:
    # Systems that hash with bcrypt looked at no more than its 72 bytes.
    return _bcrypt(password[:_BCRYPT_BYTES], found["hash"])


def _django_bcrypt_sha256(password: bytes, found: re.Match[str]) -> bool:
    return _bcrypt(hashlib.sha256(password).hexdigest().encode(), found["hash"])


def _pbkdf2(name: str, password: bytes, salt: bytes, rounds: int) -> bytes:
    return hashlib.pbkdf2_hmac(name, password, salt, rounds)


def _scrypt(password: bytes, found: re.Match[str]) -> bytes:
    n, r, p = int(found["n"]), int(found["r"]), int(found["p"])
    salt, memory = found["salt"].encode(), _scrypt_memory(n, r, p)
    return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=64)


def _scrypt_memory(n: int, r: int, p: int) -> int:
    return 128 * r * (n + p + 2)


def _bcrypt(password: bytes, hashed: str) -> bool:
    import bcrypt  # an extra

    return bcrypt.checkpw(password, hashed.encode())


def _same(computed: bytes, stored: bytes) -> bool:
    return hmac.compare_digest(computed, stored)


_Verify = Callable[[bytes, re.Match[str]], bool]
_SALT = r"(?P<salt>[^$\s]{1,256})"
_KINDS: tuple[tuple[re.Pattern[str], _Verify], ...] = (
    (
        re.compile(
            rf"pbkdf2_(?P<name>sha256|sha1)\$(?P<rounds>{_NUMBER})\${_SALT}\$(?P<digest>{_BASE64})"
        ),
        _django_pbkdf2,
    ),
    (
        re.compile(
            rf"scrypt\$(?P<n>{_NUMBER})\${_SALT}\$(?P<r>{_NUMBER})\$(?P<p>{_NUMBER})"
            rf"\$(?P<digest>{_BASE64})"
        ),
        _django_scrypt,
    ),
    (
        re.compile(
            rf"scrypt:(?P<n>{_NUMBER}):(?P<r>{_NUMBER}):(?P<p>{_NUMBER})\${_SALT}"
            r"\$(?P<digest>[0-9a-f]{128})"
        ),
        _werkzeug_scrypt,
    ),
    (
        re.compile(
            rf"pbkdf2:(?P<name>sha(?:1|224|256|384|512)):(?P<rounds>{_NUMBER})\${_SALT}"
            r"\$(?P<digest>[0-9a-f]{40,128})"
        ),
        _werkzeug_pbkdf2,
    ),
    (
        re.compile(
            rf"\$pbkdf2-(?P<name>sha256|sha512)\$(?P<rounds>{_NUMBER})"
            r"\$(?P<salt>[./A-Za-z0-9]{1,256})\$(?P<digest>[./A-Za-z0-9]{43,86})"
        ),
        _passlib_pbkdf2,
    ),
    (re.compile(rf"(?:bcrypt\$)?(?P<hash>{_BCRYPT})"), _plain_bcrypt),
    (re.compile(rf"bcrypt_sha256\$(?P<hash>{_BCRYPT})"), _django_bcrypt_sha256),
)
