"""What WorkOS refuses, as tables: its error code, and the error that it becomes here.

A code decides; where an answer has none that is known, its status does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .._http import ErrorTranslator, retry_after
from ..exceptions import (
    AuthBackendError,
    AuthStepRequiredError,
    EmailAlreadyExistsError,
    EmailNotConfirmedError,
    InvalidCredentialsError,
    InvalidEmailError,
    InvalidProfileError,
    InvalidTokenError,
    MemberAlreadyExistsError,
    OrgMemberNotFoundError,
    OrgNotFoundError,
    OrgSlugConflictError,
    PasswordValidationError,
    RateLimitedError,
    SignupDisabledError,
    UserNotFoundError,
)

__all__ = [
    "ADD_MEMBER",
    "CONFIRM",
    "CREATE",
    "EXCHANGE",
    "MAGIC_AUTH",
    "MEMBER",
    "ORG",
    "PASSWORD",
    "RECOVER",
    "REDEEM",
    "REFRESH",
    "RESET",
    "REVOKE",
    "SEND_CONFIRMATION",
    "STEP",
    "UPDATE",
    "USER",
    "EmailVerificationStep",
    "EndedError",
    "NoSuchLinkError",
    "Table",
    "translator",
]

_DEFAULT_WAIT = 60.0


class NoSuchLinkError(AuthBackendError):
    """There is nobody to send this mail to."""


class EndedError(AuthBackendError):
    """The session had ended already."""


class EmailVerificationStep(AuthStepRequiredError, EmailNotConfirmedError):
    """The step that asks for a proved address, which other backends know as an error of its own."""


class Refusal(NamedTuple):
    """An answer outside 2xx; *about* is what the call was about, such as an address."""

    status: int
    code: str
    body: Mapping[str, Any]
    about: str

    @property
    def reasons(self) -> list[str]:
        """The codes of the single errors."""
        errors = self.body.get("errors")
        found = errors if isinstance(errors, list) else []
        return [str(it.get("code")) for it in found if isinstance(it, dict)]


Make = Callable[[Refusal], Exception]
Table = Mapping[str, Make]

_WEAKNESS = {
    "password_too_short": "it is too short",
    "password_too_long": "it is too long",
    "password_too_weak": "it is too easy to guess",
    "password_pwned": "it is known from a data breach",
    "password_reused": "it was used before",
}


def _password(refusal: Refusal) -> Exception:
    reasons = [_WEAKNESS[reason] for reason in refusal.reasons if reason in _WEAKNESS]
    return PasswordValidationError(
        f"The password does not meet the requirements: {', '.join(reasons)}" if reasons else None
    )


def _email_exists(refusal: Refusal) -> Exception:
    return EmailAlreadyExistsError(refusal.about)


def _user_fields(refusal: Refusal) -> Exception:
    """Tell what was wrong with a user: the address is taken, or the password is weak."""
    if "email_not_available" in refusal.reasons:
        return _email_exists(refusal)
    if any(reason.startswith("password") for reason in refusal.reasons):
        return _password(refusal)
    return _backend(refusal)


def _reset(refusal: Refusal) -> Exception:
    named = any(reason.startswith("password_reset") for reason in refusal.reasons)
    weak = any(reason.startswith("password") for reason in refusal.reasons)
    return _password(refusal) if weak and not named else InvalidTokenError()


def _slug_conflict(refusal: Refusal) -> Exception:
    return OrgSlugConflictError(refusal.about)


def _step(refusal: Refusal) -> Exception:
    """Make the error that a caller can go on from."""
    kind = AuthStepRequiredError
    if refusal.code == "email_verification_required":
        kind = EmailVerificationStep
    own = {"code", "error", "message", "error_description", "pending_authentication_token"}
    pending = refusal.body.get("pending_authentication_token")
    return kind(
        _shown(refusal.code),
        pending if isinstance(pending, str) else None,
        {name: value for name, value in refusal.body.items() if name not in own},
    )


def _forbidden(refusal: Refusal) -> Exception:
    return _backend(refusal) if refusal.code == "unknown" else _step(refusal)


def _backend(refusal: Refusal) -> Exception:
    return AuthBackendError(f"WorkOS refused the call: {refusal.status} {_shown(refusal.code)}")


def _plain(kind: Callable[[], Exception]) -> Make:
    return lambda _: kind()


def _profile(message: str) -> Make:
    return lambda _: InvalidProfileError(message)


_INVALID = _plain(InvalidTokenError)
_WRONG = _plain(InvalidCredentialsError)
_NO_LINK = _plain(NoSuchLinkError)
_BAD_METADATA = _profile("metadata is more than WorkOS keeps: 10 texts of 600 ASCII characters")

USER: Table = {"404": _plain(UserNotFoundError)}
CREATE: Table = {
    "password_strength_error": _password,
    "user_creation_error": _user_fields,
    "email_not_available": _email_exists,
    "user_already_exists": _email_exists,
    "invalid_email": _plain(InvalidEmailError),
    "invalid_metadata": _BAD_METADATA,
    "sign_up_not_allowed": _plain(SignupDisabledError),
}
UPDATE: Table = {
    **USER,
    **CREATE,
    "user_update_error": _user_fields,
    "email_change_not_allowed": _profile("WorkOS does not let this address be changed"),
}

_AUTHENTICATE: Table = {
    **dict.fromkeys(
        (
            "invalid_one_time_code",
            "one_time_code_expired",
            "one_time_code_previously_used",
            "one_time_code_too_many_attempts",
            "invalid_pending_authentication_token",
            "user_mismatch",
            # Of WorkOS' emulator:
            "invalid_code",
            "expired_code",
            "expired_challenge",
        ),
        _INVALID,
    ),
    **dict.fromkeys(
        ("sso_required", "mfa_enrollment", "organization_authentication_methods_required"), _step
    ),
    "invalid_credentials": _WRONG,
    "sign_up_not_allowed": _plain(SignupDisabledError),
    "403": _forbidden,
}
PASSWORD: Table = {**_AUTHENTICATE, "404": _WRONG}
EXCHANGE: Table = {
    **_AUTHENTICATE,
    **dict.fromkeys(
        ("invalid_grant", "invalid_code", "expired_code", "invalid_code_verifier"), _WRONG
    ),
}
REDEEM: Table = {**_AUTHENTICATE, "invalid_grant": _INVALID, "404": _INVALID}
_ORG_CHOICE: Table = {
    "organization_membership_not_found": _plain(OrgMemberNotFoundError),
    "organization_not_found": _plain(OrgNotFoundError),
    "404": _plain(OrgNotFoundError),
}
REFRESH: Table = {**_AUTHENTICATE, **_ORG_CHOICE, "invalid_grant": _INVALID}
STEP: Table = REFRESH

MAGIC_AUTH: Table = {
    "sign_up_not_allowed": _NO_LINK,
    "email_domain_not_deliverable": _plain(InvalidEmailError),
    "404": _NO_LINK,
}
"""Of addresses without an account: whoever asks must not learn that (OWASP ASVS 5.0, 6.3.8)."""

RECOVER: Table = {"404": _NO_LINK, "password_reset_not_allowed": _NO_LINK}
RESET: Table = {
    "password_reset_error": _reset,
    "password_strength_error": _password,
    "invalid_token": _INVALID,
    "expired_token": _INVALID,
    "404": _INVALID,
}
SEND_CONFIRMATION: Table = {"404": _NO_LINK, "email_already_verified": _NO_LINK, "429": _NO_LINK}
"""Each address with an account has a limit of its own, which would tell that it has one."""

CONFIRM: Table = dict.fromkeys(
    (
        "email_verification_code_incorrect",
        "email_verification_code_expired",
        "email_verification_code_previously_used",
        "email_already_verified",
        "invalid_code",
        "expired_code",
        "404",
    ),
    _INVALID,
)
REVOKE: Table = {"400": _plain(EndedError), "404": _plain(EndedError)}

ORG: Table = {
    "404": _plain(OrgNotFoundError),
    "external_id_already_used": _slug_conflict,
    "invalid_metadata": _BAD_METADATA,
}
_NO_ROLE = _profile(
    "WorkOS has no such role: make it in the dashboard (for owners, see WorkOSConfig.owner_role)"
)
ADD_MEMBER: Table = {
    "404": _plain(OrgNotFoundError),
    "409": _plain(MemberAlreadyExistsError),
    "invalid_role": _NO_ROLE,
}
MEMBER: Table = {"404": _plain(OrgMemberNotFoundError), "invalid_role": _NO_ROLE}


def translator(table: Table, about: str = "") -> ErrorTranslator:
    """Return what makes the error of a refused call out of *table*.

    Args:
        about: What the call was about, for the errors that name it.
    """

    def translate(status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> Exception:
        refusal = Refusal(status, _code(body), body, about)
        make = table.get(refusal.code) or table.get(str(status))
        if make is not None:
            return make(refusal)
        if status == 429:
            asked = retry_after(headers)
            return RateLimitedError(_DEFAULT_WAIT if asked is None else asked)
        return _backend(refusal)

    return translate


def _code(body: Mapping[str, Any]) -> str:
    """Return the code of each shape that an error has: ``code``, or OAuth's ``error``."""
    candidates = map(body.get, ("code", "error"))
    return next((code for code in candidates if code and isinstance(code, str)), "unknown")


def _shown(code: str) -> str:
    return re.sub(r"[^\w.-]", "_", code, flags=re.ASCII)[:60]
