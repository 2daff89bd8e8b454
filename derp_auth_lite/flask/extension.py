"""``FlaskAuth``: opens the accounts of an application, and hooks them into its requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flask import Flask, current_app, request
from flask.typing import ResponseReturnValue

from .._request import bearer_token
from ..base import BaseAuthClient
from ..config import Config
from ..exceptions import AuthBackendError, AuthError, AuthNotConnectedError, RateLimitedError
from ..factory import open_auth
from ..models import AuthResult, SessionInfo
from ..native_client import NativeAuthClient
from ._answers import json_error, status_for, wants_json
from ._csrf import SAFE_METHODS, comes_from_elsewhere
from ._refusals import OtherSiteError
from .commands import add_commands
from .decorators import refuse
from .settings import FlaskAuthSettings
from .state import EXTENSION, AuthState, current_session, current_user, state

__all__ = ["FlaskAuth"]


class FlaskAuth:
    """Accounts for an application, or for several that a factory makes.

    ``app.config["AUTH_DATABASE"]``, ``AUTH_SECRET``, ``AUTH_CONFIG``, ``AUTH_EMAIL`` and
    ``AUTH_KV`` are the arguments of :func:`derp_auth_lite.open_auth`, ``AUTH_OPTIONS`` is a mapping
    of its further settings, and :class:`.settings.FlaskAuthSettings` lists the keys of the
    extension itself. The database is opened, and its tables made, when the application is set up.

    Args:
        app: The application; without one call :meth:`init_app` later.
        client: Where accounts are kept, in place of what the configuration says.
    """

    def __init__(self, app: Flask | None = None, *, client: BaseAuthClient | None = None) -> None:
        self._given = client
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Open the accounts of *app*, and add pages, commands and guards to it.

        Raises:
            ConfigError: A setting is missing or unsafe.
            AuthBackendError: The database or the KV store cannot be opened.
            RuntimeError: The application has accounts already.
        """
        if EXTENSION in app.extensions:
            raise RuntimeError("This application has its accounts already")
        settings = FlaskAuthSettings.read(app.config, app.name)
        client = self._given if self._given is not None else _open(app.config)
        try:
            client.connect()
            _hook_in(app, client, settings)
        except BaseException:
            app.extensions.pop(EXTENSION, None)
            if client is not self._given:
                client.disconnect()
            raise

    @property
    def client(self) -> BaseAuthClient:
        """The client of the application at hand."""
        return state().client

    def sign_in(self, result: AuthResult) -> SessionInfo | None:
        """Give the browser at hand the session that a sign-in began, for a view of one's own.

        Returns:
            The session; ``None`` while the address must first be confirmed.
        """
        return state().sign_in(result)

    def sign_out(self) -> None:
        """End the session of the request at hand, for a view of one's own."""
        state().sign_out()

    def close(self, app: Flask) -> None:
        """Disconnect the client of *app*; for tests, since the end of a process does it too."""
        state(app).client.disconnect()


def _hook_in(app: Flask, client: BaseAuthClient, settings: FlaskAuthSettings) -> None:
    if not isinstance(client, NativeAuthClient):  # a hosted service has pages of its own
        settings = replace(settings, pages=False)
    app.extensions[EXTENSION] = AuthState(client, settings)
    app.before_request(_refuse_other_sites)
    app.context_processor(_variables)
    add_commands(app)
    app.register_error_handler(AuthBackendError, _show_failure)
    app.register_error_handler(AuthNotConnectedError, _show_failure)
    app.register_error_handler(RateLimitedError, _show_failure)
    if settings.pages:
        from .pages import pages  # templates and forms, for those who want them

        app.register_blueprint(pages, url_prefix=settings.url_prefix)
    if settings.api:
        from .api import make_blueprint  # likewise

        api = make_blueprint(state(app))
        app.register_blueprint(api, url_prefix=f"{settings.url_prefix}/api")


def _open(config: Mapping[str, Any]) -> BaseAuthClient:
    given = {
        name: config[key]
        for name, key in (
            ("secret", "AUTH_SECRET"),
            ("config", "AUTH_CONFIG"),
            ("email", "AUTH_EMAIL"),
            ("kv", "AUTH_KV"),
        )
        if config.get(key) is not None
    }
    if isinstance(given.get("config"), str | Path):
        given["config"] = Config.load(given["config"])
    client: BaseAuthClient = open_auth(
        config.get("AUTH_DATABASE", "auth.db"), **given, **config.get("AUTH_OPTIONS", {})
    )
    return client


def _refuse_other_sites() -> ResponseReturnValue | None:
    """Refuse what another site's page had a browser send along with its cookie."""
    if request.method in SAFE_METHODS:
        return None
    auth = state()
    is_page = request.blueprint == "auth"
    ours = is_page or request.blueprint == "auth_api"
    if bearer_token(request) is not None or not (ours or auth.session_cookie()):
        return None
    if not comes_from_elsewhere(request, auth.settings.trusted_origins, has_token=is_page):
        return None
    return refuse(OtherSiteError())


def _variables() -> dict[str, Any]:
    return {"current_user": current_user, "current_session": current_session}


def _show_failure(error: AuthError) -> ResponseReturnValue:
    """Answer for a backend that is down, or for one who tries too often."""
    auth, status = state(), status_for(error)
    if status == 503:
        current_app.logger.error("accounts are not available", exc_info=error)
        auth.forget_session()  # or the page would ask the database again
    if wants_json(request, auth.settings.api_prefixes) or not auth.settings.pages:
        return json_error(error)
    from .pages.show import show

    return show("refused.html", status=status, error=error)
