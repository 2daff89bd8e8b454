"""Addresses: one stored form for each mailbox, and a form that logs may show."""

from __future__ import annotations

import re
import unicodedata

from .exceptions import InvalidEmailError

__all__ = ["mask_email", "normalize_email"]

_MAX_CHARACTERS = 254  # RFC 5321, section 4.5.3.1.3, without the angle brackets
_INTERNAL = frozenset({"localhost", "local", "test"})
_PUBLIC_SUFFIX = ".example"
# What nearly all addresses look like. The validator, fifty times slower, finds nothing to change in
# such a one, nor to refuse: but for names of special use, which RFC 6761 and its like set aside.
_PLAIN = re.compile(
    r"(?=.{1,64}@)[a-z0-9_+-]+(\.[a-z0-9_+-]+)*"
    r"@([a-z0-9](?!.--)([a-z0-9-]{0,30}[a-z0-9])?\.)+"
    r"(?!(alt|arpa|invalid|local|localhost|onion|test)$)[a-z]{2,9}"
).fullmatch
_SHAPE = re.compile(r"([a-z0-9])[^@]*@([a-z0-9])[^@]*?(\.[a-z]{2,24})?", re.IGNORECASE | re.DOTALL)


def normalize_email(address: object) -> str:
    """Return the one form in which *address* is stored, compared and mailed to.

    The local part must be ASCII. The domain gets its ASCII form (IDNA 2008), and all is
    lower-cased. Nothing is looked up. Addresses of internal networks and of tests are valid, such
    as ``root@localhost``, ``a@srv.local`` and ``a@app.test``. White space around an address is not
    taken away: it is refused, like a display name and a quoted local part.

    A foreign character that would end as an ASCII one or as nothing, such as U+FF20, the Kelvin
    sign or an invisible one, is refused: what looks like another's address must not become it
    (Unicode TR 36, section 2).

    Raises:
        InvalidEmailError: Not exactly one plain address.
    """
    if not isinstance(address, str) or len(address) > _MAX_CHARACTERS:
        raise InvalidEmailError
    if _PLAIN(address) is not None:
        return address
    stored = _validated(address).lower()
    if not address.isascii() and not _stays_foreign(address, stored):
        raise InvalidEmailError
    return stored


def mask_email(address: object) -> str:
    """Return *address* as a log may show it, ``a***@e***.org``; whatever is no address: ``***``.

    The result is ASCII without control characters, whatever was given (OWASP ASVS 5.0, 16.4.1).
    """
    if not isinstance(address, str) or len(address) > _MAX_CHARACTERS or not address.isascii():
        return "***"
    match = _SHAPE.fullmatch(address)
    return f"{match[1]}***@{match[2]}***{match[3] or ''}" if match else "***"


def _validated(address: str) -> str:
    # 25 ms to import.
    from email_validator import validate_email

    # The validator refuses names of internal networks: such a one is checked below a public one.
    is_internal = re.split(r"[.@]", address)[-1].lower() in _INTERNAL
    suffix = _PUBLIC_SUFFIX if is_internal else ""
    try:
        valid = validate_email(
            address + suffix,
            allow_smtputf8=False,
            allow_quoted_local=False,
            allow_domain_literal=False,
            allow_display_name=False,
            strict=True,
            check_deliverability=False,
        )
    except ValueError as error:  # EmailNotValidError is one; so is what IDNA may raise
        raise InvalidEmailError from error
    assert valid.ascii_email is not None  # it has none only where SMTPUTF8 is allowed
    return valid.ascii_email.removesuffix(suffix)


def _stays_foreign(address: str, stored: str) -> bool:
    """Tell whether every label of *address* that looks foreign is foreign in *stored* too."""
    given, kept = address.split("."), stored.split(".")
    return (
        len(given) == len(kept)
        and not any(map(_hides_ascii, address))
        and all(a.isascii() or "xn--" in b for a, b in zip(given, kept, strict=True))
    )


def _hides_ascii(character: str) -> bool:
    forms = unicodedata.normalize("NFKC", character)
    return not character.isascii() and any(map(str.isascii, forms))
