"""Why an address cannot sign in with its password, for an operator to read."""

from __future__ import annotations

from .._addresses import normalize_email
from .._local.throttle import Throttle
from .._records import UserRecord
from ..config import NativeAuthConfig
from ..exceptions import InvalidEmailError
from ..models import Finding
from .accounts import Accounts

__all__ = ["explain_sign_in"]


def explain_sign_in(
    email: str, accounts: Accounts, throttle: Throttle, config: NativeAuthConfig
) -> list[Finding]:
    """Return what refuses, or soon refuses, a sign-in; a lone ``may_sign_in`` where nothing does.

    Raises:
        AuthBackendError: Database or KV store failed.
    """
    try:
        address = normalize_email(email)
    except InvalidEmailError:
        return [_error("invalid_email", "This is no address that an account can have.")]
    user = accounts.by_email(address)
    findings = [] if user is not None else [_error("no_account", "No account has this address.")]
    findings += [] if user is None else _of_account(user, config)
    findings += [
        Finding(
            code="throttled",
            level="error",
            message=f"Too many attempts from places that are new to it: closed for {wait:.0f} s "
            "there; links and known places go on.",
        )
        for wait in throttle.full(address).values()
    ]
    return findings or [
        Finding(code="may_sign_in", level="info", message="The right password signs in.")
    ]


def _of_account(user: UserRecord, config: NativeAuthConfig) -> list[Finding]:
    most = config.throttle.failures_in_a_row
    unconfirmed = config.enable_confirmation and user.email_confirmed_at is None
    found = [
        (
            not user.is_active,
            "disabled",
            "The account is disabled: update_user(is_active=True), or users enable, opens it.",
        ),
        (
            user.password_hash is None,
            "no_password",
            "The account has no password: it is entered by a link or a provider, or after a reset.",
        ),
        (
            unconfirmed,
            "not_confirmed",
            "The address is not confirmed: resend_confirmation_email() mails another link.",
        ),
        (
            bool(most) and user.failed_sign_ins >= most,
            "failures_in_a_row",
            f"{user.failed_sign_ins} wrong passwords in a row: a magic link or a reset opens it.",
        ),
    ]
    findings = [_error(code, message) for holds, code, message in found if holds]
    if not findings and user.failed_sign_ins:
        message = f"The last {user.failed_sign_ins} attempts had a wrong password."
        findings = [Finding(code="recent_failures", level="warning", message=message)]
    return findings


def _error(code: str, message: str) -> Finding:
    return Finding(code=code, level="error", message=message)
