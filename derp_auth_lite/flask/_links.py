"""Where the links in mails lead: to a page of ours, or to the application's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from flask import current_app, request, url_for
from werkzeug.wsgi import get_host

from ..exceptions import ConfigError
from .settings import FlaskAuthSettings
from .state import on_this_machine, state

__all__ = ["has_link", "link"]


def has_link(settings: FlaskAuthSettings, purpose: str) -> bool:
    """Tell whether a mail for *purpose* has somewhere to lead."""
    return settings.pages or purpose in settings.links


def link(purpose: str, **values: Any) -> str:
    """Return the whole address of a page, for a mail.

    Args:
        purpose: One of :data:`.settings.LINKS`.
        **values: For its query.

    Raises:
        ConfigError: Nobody said where the site is, and the request's word is not to be trusted: a
            token would go wherever its ``Host`` header says (OWASP forgot password cheat sheet).
        SecurityError: Its host is none of ``TRUSTED_HOSTS``.
    """
    settings = state().settings
    own = settings.links.get(purpose)
    place = url_for(f"auth.{purpose}", **values) if own is None else _with_query(own, values)
    return place if urlsplit(place).scheme else _site(settings) + place


def _site(settings: FlaskAuthSettings) -> str:
    if settings.site_url is not None:
        parts = urlsplit(settings.site_url)
        return f"{parts.scheme}://{parts.netloc}"
    if on_this_machine(request):
        return f"{request.scheme}://{request.host}"
    trusted = current_app.config.get("TRUSTED_HOSTS")
    if not trusted:
        raise ConfigError("Set AUTH_SITE_URL: links in mails begin with it")
    # Flask before 3.1 does not look at the setting.
    return f"{request.scheme}://{get_host(request.environ, trusted)}"


def _with_query(place: str, values: Mapping[str, Any]) -> str:
    given = urlencode({name: value for name, value in values.items() if value is not None})
    parts = urlsplit(place)
    return parts._replace(query="&".join(filter(None, (parts.query, given)))).geturl()
