"""What Supabase Auth refuses, as tables: its error code, and the error that it becomes here.

Codes decide and statuses do not: 400, 404 and 422 change places between versions of the service.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .._http import ErrorTranslator, retry_after
from ..exceptions import (
    AuthBackendError,
    EmailAlreadyExistsError,
    EmailNotConfirmedError,
    InvalidCredentialsError,
    InvalidTokenError,
    PasswordValidationError,
    RateLimitedError,
    SignupDisabledError,
    UserDisabledError,
    UserNotFoundError,
)

__all__ = [
    "CREATE",
    "EXCHANGE",
    "LINK",
    "LOGOUT",
    "OTP",
    "PASSWORD",
    "RECOVER",
    "REFRESH",
    "RESEND",
    "RESET",
    "SIGN_IN",
    "SIGN_UP",
    "USER",
    "ConflictError",
    "NoSuchLinkError",
    "NotTakenError",
    "SignedOutError",
    "Table",
    "translator",
]

_DEFAULT_WAIT = 60.0
_WAIT = re.compile(r"after (\d{1,6}) seconds")
_RATE_CODES = frozenset({"over_request_rate_limit", "over_email_send_rate_limit"})


class ConflictError(AuthBackendError):
    """Two refreshes met: the same call may be made once more."""


class NoSuchLinkError(AuthBackendError):
    """There is nobody to send this link to."""


class NotTakenError(AuthBackendError):
    """The service does not take the access token that a session was to be ended with."""


class SignedOutError(AuthBackendError):
    """The session had ended already."""


class Refusal(NamedTuple):
    """An answer outside 2xx; *about* is what the call was about, such as an address."""

    code: str
    message: str
    reasons: tuple[str, ...]
    about: str


Make = Callable[[Refusal], Exception]
Table = Mapping[str, Make]

_REASONS = {
    "length": "it is too short or too long",
    "characters": "it lacks required characters",
    "pwned": "it is known from a data breach",
}


def _password(refusal: Refusal) -> Exception:
    reasons = [_REASONS[reason] for reason in refusal.reasons if reason in _REASONS]
    return PasswordValidationError(
        f"The password does not meet the requirements: {', '.join(reasons)}" if reasons else None
    )


def _same_password(_: Refusal) -> Exception:
    return PasswordValidationError("The new password must differ from the present one")


def _password_if_named(refusal: Refusal) -> Exception:
    named = "password" in refusal.message.lower()
    return PasswordValidationError() if named else _backend(refusal)


def _email_exists(refusal: Refusal) -> Exception:
    return EmailAlreadyExistsError(refusal.about)


def _no_user_if_named(refusal: Refusal) -> Exception:
    named = "uuid" in refusal.message.lower()
    return UserNotFoundError() if named else _backend(refusal)


def _backend(refusal: Refusal) -> Exception:
    shown = re.sub(r"[^\w.-]", "?", refusal.code)[:60]
    return AuthBackendError(f"Supabase refused the call: {shown}")


def _unnamed(status: int) -> Exception:
    if status == 401:
        return AuthBackendError(
            "Supabase does not know the API key: see anon_key and service_role_key"
        )
    return AuthBackendError(f"Supabase answered with status {status}")


def _plain(kind: Callable[[], Exception]) -> Make:
    return lambda _: kind()


_INVALID = _plain(InvalidTokenError)
_WRONG = _plain(InvalidCredentialsError)

SIGN_UP: Table = {
    "user_already_exists": _email_exists,
    "email_exists": _email_exists,
    "weak_password": _password,
    "validation_failed": _password_if_named,
    "signup_disabled": _plain(SignupDisabledError),
    "email_provider_disabled": _plain(SignupDisabledError),
}
PASSWORD: Table = {
    "invalid_credentials": _WRONG,
    "email_not_confirmed": _plain(EmailNotConfirmedError),
    "user_banned": _WRONG,
}
"""That a user is banned is said whatever the password is: whoever asks must not learn that."""

_UNSENT = dict.fromkeys(
    (
        "over_email_send_rate_limit",
        "email_address_not_authorized",
        "hook_timeout",
        "hook_timeout_after_retry",
        "unexpected_failure",
    ),
    _plain(NoSuchLinkError),
)
"""Mail is sent while the caller waits, and for addresses with an account alone: what goes wrong
with it, a mail server that is down for one, tells who has one."""

OTP: Table = {
    **_UNSENT,
    **dict.fromkeys(("otp_disabled", "signup_disabled"), _plain(NoSuchLinkError)),
}
"""The last two tell of an address that it has no account: whoever asks must not learn that (OWASP
ASVS 5.0, 6.3.8)."""

RECOVER: Table = {**_UNSENT, "over_request_rate_limit": _plain(NoSuchLinkError)}
"""The limit is counted for addresses with an account alone, so that it tells who has one."""

RESEND: Table = _UNSENT
LINK: Table = dict.fromkeys(
    ("user_not_found", "email_exists", "validation_failed"), _plain(NoSuchLinkError)
)
"""A link of our own mail: nobody has the address, or it is confirmed already."""

SIGN_IN: Table = {
    "otp_expired": _INVALID,
    "validation_failed": _INVALID,
    "user_banned": _INVALID,
    "user_not_found": _INVALID,
    "flow_state_not_found": _INVALID,
    "flow_state_expired": _INVALID,
    "bad_code_verifier": _INVALID,
}
EXCHANGE: Table = {
    "validation_failed": _WRONG,
    "flow_state_not_found": _WRONG,
    "flow_state_expired": _WRONG,
    "bad_code_verifier": _WRONG,
    "user_banned": _plain(UserDisabledError),
    "signup_disabled": _plain(SignupDisabledError),
}
REFRESH: Table = {
    "refresh_token_not_found": _INVALID,
    "refresh_token_already_used": _INVALID,
    "session_not_found": _INVALID,
    "session_expired": _INVALID,
    "user_banned": _INVALID,
    "validation_failed": _INVALID,
    "conflict": _plain(ConflictError),
}
RESET: Table = {
    "weak_password": _password,
    "same_password": _same_password,
    "validation_failed": _password_if_named,
    "bad_jwt": _INVALID,
    "session_not_found": _INVALID,
    "user_not_found": _INVALID,
}
USER: Table = {
    "user_not_found": _plain(UserNotFoundError),
    "validation_failed": _no_user_if_named,
    "email_exists": _email_exists,
    "user_already_exists": _email_exists,
    "23505": _email_exists,
}
CREATE: Table = {
    "email_exists": _email_exists,
    "user_already_exists": _email_exists,
    "weak_password": _password,
    "validation_failed": _password_if_named,
}
LOGOUT: Table = {
    **dict.fromkeys(
        ("session_not_found", "session_expired", "user_not_found"), _plain(SignedOutError)
    ),
    "bad_jwt": _plain(NotTakenError),
}
"""Just what says that the session is over: after anything else it may live on."""


def translator(table: Table, about: str = "") -> ErrorTranslator:
    """Return what makes the error of a refused call out of *table*.

    Args:
        about: What the call was about, for the errors that name it.
    """

    def translate(status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> Exception:
        refusal = Refusal(_code(body, headers), _message(body), _reasons(body), about)
        make = table.get(refusal.code)
        if make is not None:
            return make(refusal)
        if status == 429 or refusal.code in _RATE_CODES:
            return RateLimitedError(_wait(refusal.message, headers))
        return _backend(refusal) if refusal.code else _unnamed(status)

    return translate


def _code(body: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """Return the error code: of the header, then of each shape that a body can have; or ``""``."""
    candidates = (headers.get("x-sb-error-code"), *map(body.get, ("code", "error_code", "error")))
    return next((code for code in candidates if code and isinstance(code, str)), "")


def _message(body: Mapping[str, Any]) -> str:
    candidates = map(body.get, ("msg", "message", "error_description", "error"))
    return next((text for text in candidates if text and isinstance(text, str)), "")


def _reasons(body: Mapping[str, Any]) -> tuple[str, ...]:
    weak = body.get("weak_password")
    reasons = weak.get("reasons") if isinstance(weak, dict) else None
    return tuple(map(str, reasons)) if isinstance(reasons, list) else ()


def _wait(message: str, headers: Mapping[str, str]) -> float:
    """Return the seconds to wait: of ``Retry-After``, else of the text, else a minute."""
    asked = retry_after(headers)
    if asked is not None:
        return asked
    told = _WAIT.search(message)
    return float(told[1]) if told else _DEFAULT_WAIT
