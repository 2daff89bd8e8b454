"""Refusals that only a web application knows, beside the library's errors."""

from __future__ import annotations

from ..exceptions import AuthError

__all__ = [
    "InvalidRequestError",
    "LoginRequiredError",
    "MediaTypeError",
    "NotAllowedError",
    "NotFoundError",
    "OtherSiteError",
    "SignInAgainError",
    "TooLargeError",
    "WrongPasswordError",
]


class LoginRequiredError(AuthError):
    """Nobody is signed in."""

    code = "login_required"
    default_message = "Sign in first"


class SignInAgainError(LoginRequiredError):
    """Somebody is signed in, but not recently enough for this."""

    code = "sign_in_again"
    default_message = "Sign in again first"


class NotAllowedError(AuthError):
    """Who is signed in has not the right to do that."""

    code = "not_allowed"
    default_message = "This account may not do that"


class OtherSiteError(NotAllowedError):
    """Another site's page had the browser send the request."""

    code = "cross_site_request"
    default_message = "The request came from another site"


class WrongPasswordError(AuthError):
    """The present password, which a change asks for, is another one."""

    code = "wrong_password"
    default_message = "The current password is wrong"


class NotFoundError(AuthError):
    """There is nothing there, or nothing that this account may know of."""

    code = "not_found"
    default_message = "There is nothing here"


class InvalidRequestError(AuthError):
    """The request has not the form that the document describes.

    Args:
        field: The part of it that is wrong, where it is one.
    """

    code = "invalid_request"
    default_message = "The request is not of the form that the document describes"

    def __init__(self, message: str | None = None, *, field: str | None = None) -> None:
        super().__init__(message if field is None else f"{field} {message}")
        self.field = field


class TooLargeError(AuthError):
    """The body is longer than any request needs."""

    code = "too_large"
    default_message = "The body is too large"


class MediaTypeError(AuthError):
    """The body is not declared to be JSON."""

    code = "unsupported_media_type"
    default_message = "Send JSON, with Content-Type: application/json"
