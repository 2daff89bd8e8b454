"""Accounts in a Flask application: ``FlaskAuth(app)``, and what views are guarded with."""

from __future__ import annotations

from .decorators import fresh_login_required, login_required, org_required, roles_required
from .extension import FlaskAuth
from .state import current_session, current_user

__all__ = [
    "FlaskAuth",
    "current_session",
    "current_user",
    "fresh_login_required",
    "login_required",
    "org_required",
    "roles_required",
]
