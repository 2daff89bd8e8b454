"""Accounts in a Flask application: ``FlaskAuth(app)``, and what views are guarded with."""

from __future__ import annotations

try:
    from .decorators import fresh_login_required, login_required, org_required, roles_required
    from .extension import FlaskAuth
    from .state import current_session, current_user
except ModuleNotFoundError as error:
    if error.name != "flask":
        raise
    raise ModuleNotFoundError(
        'derp_auth_lite.flask needs Flask: pip install "derp_auth_lite[flask]"', name="flask"
    ) from None

__all__ = [
    "FlaskAuth",
    "current_session",
    "current_user",
    "fresh_login_required",
    "login_required",
    "org_required",
    "roles_required",
]
