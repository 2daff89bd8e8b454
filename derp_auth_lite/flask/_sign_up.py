"""Signing up so that a stranger does not learn which addresses are taken."""

from __future__ import annotations

from typing import Any

from flask import request

from ..exceptions import EmailAlreadyExistsError
from ..models import AuthResult
from ._links import link
from .state import state

__all__ = ["sign_up"]


def sign_up(
    email: str, password: str, *, next_page: str | None = None, **profile: Any
) -> AuthResult | None:
    """Make an account; where confirmation is on, a taken address gets the answer of a free one.

    The owner of a taken one gets a mail that says so (OWASP ASVS 5.0, 6.3.8).

    Args:
        next_page: Where the page of the confirmation link leads on to.
        **profile: As for ``sign_up`` of the client.

    Returns:
        The session that has begun; ``None`` where the next step is to read one's mail.
    """
    client = state().native
    confirm_first = client.config.enable_confirmation
    url = link("confirm", next=next_page) if confirm_first else None
    try:
        result = client.sign_up(
            email=email, password=password, request=request, confirmation_url=url, **profile
        )
    except EmailAlreadyExistsError:
        if not confirm_first:
            raise
        client.notify_account_exists(
            email=email, recovery_url=link("reset_password"), request=request
        )
        return None
    return result if result.tokens is not None else None
