"""Every error that leaves the library.

One root, :class:`AuthError`, with a stable ``code`` that a program can switch on and a message that
a person can act on. What a user, a disk or a network can cause is an ``AuthError``; ``ValueError``
and ``TypeError`` are left for a mistake in the calling program. Messages tell a stranger nothing
that was not in the request; the reason behind a refusal is in the log and in the events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = [
    "AuthBackendError",
    "AuthError",
    "AuthNotConnectedError",
    "AuthStepRequiredError",
    "ConfigError",
    "ConfirmationURLMissingError",
    "EmailAlreadyExistsError",
    "EmailNotConfirmedError",
    "EmailSendError",
    "IdentityAlreadyExistsError",
    "InvalidCredentialsError",
    "InvalidCursorError",
    "InvalidEmailError",
    "InvalidProfileError",
    "InvalidTokenError",
    "LastIdentityError",
    "LastOwnerError",
    "MemberAlreadyExistsError",
    "OrgMemberNotFoundError",
    "OrgMismatchError",
    "OrgNotFoundError",
    "OrgSlugConflictError",
    "PasswordValidationError",
    "RateLimitedError",
    "SchemaTooNewError",
    "SessionLimitError",
    "SignupDisabledError",
    "TransferError",
    "UserDisabledError",
    "UserNotFoundError",
]


class AuthError(Exception):
    """Root of all errors of the library.

    Args:
        message: A sentence for a person; the class has a default.
        code: A stable word for a program; the class has a default.
    """

    code = "auth_error"
    default_message = "The account could not be worked on"

    def __init__(self, message: str | None = None, code: str | None = None) -> None:
        self.message = message or self.default_message
        super().__init__(self.message)
        if code is not None:
            self.code = code

    def __reduce__(self) -> tuple[Callable[..., AuthError], tuple[Any, ...]]:
        """Errors cross process boundaries with all that they carry."""
        return _rebuild, (type(self), self.args, dict(self.__dict__))


def _rebuild(kind: type[AuthError], args: tuple[Any, ...], state: dict[str, Any]) -> AuthError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class AuthNotConnectedError(AuthError):
    """A method was called before ``connect()`` or after ``disconnect()``."""

    code = "auth_not_connected"
    default_message = "The auth client is not connected: call connect() or use it in a with block"


class AuthBackendError(AuthError):
    """Database, KV store, mail or hosted service failed; the cause is chained."""

    code = "auth_backend_error"
    default_message = "The account service is not available"


class ConfigError(AuthError):
    """A setting is missing, unknown or unsafe."""

    code = "config_error"
    default_message = "The configuration is not usable"


class SchemaTooNewError(ConfigError):
    """The database was written by a newer version of the library."""

    code = "schema_too_new"
    default_message = "The database was made by a newer version of derp_auth_lite: upgrade it"


class ConfirmationURLMissingError(AuthError):
    """``confirmation_url`` was left out while confirmation is on."""

    code = "confirmation_url_missing"
    default_message = "confirmation_url is needed while confirmation is enabled"


class PasswordValidationError(AuthError):
    """A new password does not meet the policy; the message says in what."""

    code = "password_validation_error"
    default_message = "The password does not meet the requirements"


class SignupDisabledError(AuthError):
    """Signing up is turned off."""

    code = "signup_disabled"
    default_message = "Signing up is disabled"


class InvalidEmailError(AuthError):
    """The text is not an address that mail could be sent to."""

    code = "invalid_email"
    default_message = "The email address is not valid"


class InvalidProfileError(AuthError):
    """A profile field (a name, a picture's URL, metadata, a slug) holds what cannot be kept."""

    code = "invalid_profile"
    default_message = "The profile holds a value that cannot be kept"


class EmailSendError(AuthError):
    """A mail could not be handed to the mail server; the cause is chained.

    Args:
        permanent: Another attempt at this mail is of no use: the server refused this recipient or
            this message for good, or the mail could not even be written.
    """

    code = "email_send_error"
    default_message = "The email could not be sent"

    def __init__(
        self, message: str | None = None, code: str | None = None, *, permanent: bool = False
    ) -> None:
        super().__init__(message, code)
        self.permanent = permanent


class RateLimitedError(AuthError):
    """Too many attempts.

    Args:
        retry_after: Seconds until the next attempt can succeed.
    """

    code = "rate_limited"
    default_message = "Too many attempts: try again later"

    def __init__(self, retry_after: float, message: str | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SessionLimitError(AuthError):
    """The user has as many sessions as may be; ``.user_id`` has shown who they are already."""

    code = "session_limit"
    default_message = "Too many sessions: sign out elsewhere first"

    def __init__(self, user_id: str, message: str | None = None) -> None:
        super().__init__(message)
        self.user_id = user_id


class InvalidCredentialsError(AuthError):
    """Sign-in failed. The caller does not learn why; the log does."""

    code = "invalid_credentials"
    default_message = "Invalid email or password"


class EmailNotConfirmedError(InvalidCredentialsError):
    """The password was right, but the address must be confirmed first."""

    code = "email_not_confirmed"
    default_message = "Confirm your email address before signing in"


class UserDisabledError(InvalidCredentialsError):
    """They proved who they are, but an administrator disabled the account.

    ``.user_id`` says whose, where that is known.
    """

    code = "user_disabled"
    default_message = "This account is disabled"

    def __init__(
        self, message: str | None = None, code: str | None = None, *, user_id: str | None = None
    ) -> None:
        super().__init__(message, code)
        self.user_id = user_id


class AuthStepRequiredError(InvalidCredentialsError):
    """A hosted backend asks for one more step (second factor, organization choice, verification).

    Args:
        code: The backend's name of the step.
        pending_token: What the backend wants back with the step's answer.
        details: What a caller needs to go on, such as the organizations to choose from.
    """

    code = "auth_step_required"
    default_message = "One more step is needed to sign in"

    def __init__(
        self,
        code: str,
        pending_token: str | None = None,
        details: Mapping[str, Any] | None = None,
        message: str | None = None,
    ) -> None:
        super().__init__(message or f"One more step is needed to sign in: {code}", code)
        self.pending_token = pending_token
        self.details = dict(details or {})


class InvalidTokenError(AuthError):
    """A token (refresh, confirmation, recovery, magic link) is unknown, expired or used."""

    code = "invalid_token"
    default_message = "The token is invalid or expired"


class InvalidCursorError(AuthError):
    """A page cursor was changed, or belongs to another list."""

    code = "invalid_cursor"
    default_message = "The page cursor is not valid for this list"


class UserNotFoundError(AuthError):
    """There is no such user."""

    code = "user_not_found"
    default_message = "User not found"


class OrgNotFoundError(AuthError):
    """There is no such organization."""

    code = "org_not_found"
    default_message = "Organization not found"


class OrgMemberNotFoundError(AuthError):
    """The user is not a member of the organization."""

    code = "org_member_not_found"
    default_message = "Organization member not found"


class OrgMismatchError(AuthError):
    """The session's active organization is not the one that the resource belongs to."""

    code = "org_mismatch"
    default_message = "The session does not belong to this organization"


class EmailAlreadyExistsError(AuthError):
    """An account with this address exists; ``.email`` is the address as stored."""

    code = "email_already_exists"
    default_message = "An account with this email address already exists"

    def __init__(self, email: str, message: str | None = None) -> None:
        super().__init__(message)
        self.email = email


class IdentityAlreadyExistsError(AuthError):
    """The identity at the provider is linked to an account already."""

    code = "identity_already_exists"
    default_message = "This sign-in is already linked to an account"


class LastIdentityError(AuthError):
    """Taking the identity away would leave the user no way to sign in."""

    code = "last_identity"
    default_message = "This is the only way to sign in: set a password or link another one first"


class OrgSlugConflictError(AuthError):
    """An organization with this slug exists; ``.slug`` names it."""

    code = "org_slug_conflict"
    default_message = "An organization with this slug already exists"

    def __init__(self, slug: str, message: str | None = None) -> None:
        super().__init__(message)
        self.slug = slug


class MemberAlreadyExistsError(AuthError):
    """The user is a member of the organization already."""

    code = "member_already_exists"
    default_message = "The user is already a member of this organization"


class LastOwnerError(AuthError):
    """The change would leave an organization without an owner; ``.orgs`` holds their ids."""

    code = "last_owner"
    default_message = "An organization must keep an owner: give the role to another member first"

    def __init__(self, orgs: Sequence[str] = (), message: str | None = None) -> None:
        super().__init__(message)
        self.orgs = tuple(orgs)


class TransferError(AuthError):
    """An import was refused; the message says at which record, and nothing was imported."""

    code = "transfer_error"
    default_message = "The accounts could not be imported"
