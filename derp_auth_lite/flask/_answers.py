"""How a refusal looks: JSON for a program, a page or a redirect for a person."""

from __future__ import annotations

from flask import Request, Response, jsonify

from ..exceptions import AuthError, RateLimitedError

__all__ = ["STATUS", "json_error", "status_for", "wants_json"]

_PAGE_TYPES = ("text/html", "application/xhtml+xml")

STATUS = {
    "auth_backend_error": 503,
    "auth_not_connected": 503,
    "config_error": 503,
    "cross_site_request": 403,
    "email_already_exists": 409,
    "email_not_confirmed": 403,
    "identity_already_exists": 409,
    "invalid_credentials": 401,
    "last_identity": 409,
    "last_owner": 409,
    "login_required": 401,
    "member_already_exists": 409,
    "not_allowed": 403,
    "not_found": 404,
    "org_member_not_found": 404,
    "org_mismatch": 403,
    "org_not_found": 404,
    "org_slug_conflict": 409,
    "rate_limited": 429,
    "session_limit": 409,
    "sign_in_again": 401,
    "signup_disabled": 403,
    "too_large": 413,
    "unsupported_media_type": 415,
    "user_disabled": 403,
    "user_not_found": 404,
    "wrong_password": 403,
}
"""The HTTP status that goes with an error's code; 400 where there is none here."""


def status_for(error: AuthError | type[AuthError]) -> int:
    """Return the HTTP status that goes with an error."""
    return STATUS.get(error.code, 400)


def wants_json(request: Request, api_prefixes: tuple[str, ...]) -> bool:
    """Tell whether a program asks, and not a person in a browser.

    A program is who sends an ``Authorization`` header or JSON, asks under an API's path, was called
    by a script of a page, or does not accept HTML.
    """
    if "Authorization" in request.headers or request.is_json:
        return True
    if request.path.startswith(api_prefixes):
        return True
    if request.headers.get("Sec-Fetch-Mode", "navigate") != "navigate":
        return True
    accepted = request.accept_mimetypes
    if not accepted:
        return False
    page = max((accepted.quality(kind) for kind, _ in accepted if kind in _PAGE_TYPES), default=0)
    return page < accepted["application/json"] if page else True


def json_error(error: AuthError) -> Response:
    """Return an error as JSON: its code for the program, its message for who reads the log."""
    problem = {"code": error.code, "message": error.message}
    field = getattr(error, "field", None)
    response = jsonify(error=problem if field is None else {**problem, "field": field})
    response.status_code = status_for(error)
    response.headers["Cache-Control"] = "no-store"
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, section 15.5.2
    if isinstance(error, RateLimitedError):
        response.headers["Retry-After"] = str(max(1, round(error.retry_after)))
    return response
