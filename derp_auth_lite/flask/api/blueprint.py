"""The blueprint of one application: its operations, and how everything that goes wrong looks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flask import Blueprint, Response, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from ...exceptions import AuthError, ConfigError
from .._answers import json_error, status_for
from .._csrf import SAFE_METHODS
from .._links import has_link
from .._refusals import NotFoundError, OtherSiteError, TooLargeError
from ..state import AuthState, state
from .account import me, sessions
from .enter import entering, may_sign_up, providers
from .mails import links
from .openapi import document
from .operation import Operation
from .orgs import organizations
from .records import as_json

__all__ = ["BLUEPRINT", "make_blueprint", "operations_of"]

BLUEPRINT = "auth_api"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def operations_of(auth: AuthState) -> list[Operation]:
    """Return the operations that an application offers."""
    topics = (entering, links, me, sessions, providers, organizations)
    return [each for topic in topics for each in topic if each.offered(auth)]


def make_blueprint(auth: AuthState) -> Blueprint:
    """Return the API of an application.

    Raises:
        ConfigError: Addresses are confirmed by a link that would lead nowhere.
    """
    _check_links(auth)
    api = Blueprint(BLUEPRINT, __name__)
    operations = operations_of(auth)
    for path in dict.fromkeys(operation.path for operation in operations):
        at_path = [operation for operation in operations if operation.path == path]
        rule = path.replace("{", "<").replace("}", ">")
        _add(api, rule, path.strip("/").replace("/", "_"), _view_of(at_path))
    _add(api, "/openapi.json", "openapi", _document_view(operations))
    _add(api, "/", "index", _nothing)
    _add(api, "/<path:path>", "nothing", _nothing)
    api.before_request(_refuse_plain_forms)
    api.after_request(_keep_out_of_caches)
    api.register_error_handler(AuthError, _refused)
    api.register_error_handler(HTTPException, _refused_by_http)
    return api


def _check_links(auth: AuthState) -> None:
    config = auth.native.config
    needed = ("confirm", "reset_password") if config.enable_confirmation else ()
    missing = [name for name in needed if not has_link(auth.settings, name)]
    if missing and may_sign_up(auth):
        raise ConfigError(
            f"AUTH_LINKS must say where mails lead, as there are no pages: {', '.join(missing)}"
        )


def _add(api: Blueprint, rule: str, name: str, view: Callable[..., ResponseReturnValue]) -> None:
    """Take every method: which ones a path has, its view decides."""
    api.add_url_rule(rule, name, view, methods=_METHODS, provide_automatic_options=False)


def _view_of(operations: Iterable[Operation]) -> Callable[..., ResponseReturnValue]:
    by_method = {operation.method: operation for operation in operations}

    def view(**in_path: str) -> ResponseReturnValue:
        method = "GET" if request.method == "HEAD" else request.method
        operation = by_method.get(method)
        if operation is None:
            return _no_such_method(by_method)
        record, status = operation(in_path)
        if record is None:
            return _empty(status)
        response = jsonify(as_json(record))
        response.status_code = status
        return response

    return view


def _document_view(operations: list[Operation]) -> Callable[..., ResponseReturnValue]:
    def view() -> ResponseReturnValue:
        if request.method not in ("GET", "HEAD"):
            return _no_such_method(["GET"])
        auth = state()
        base = f"{request.script_root}{auth.settings.url_prefix}/api"
        return jsonify(
            document(operations, auth.settings.site_name, base, cookie=auth.cookie_name())
        )

    return view


def _nothing(**_: str) -> ResponseReturnValue:
    raise NotFoundError


def _no_such_method(methods: Iterable[str]) -> Response:
    response = _http_error(405, "Method Not Allowed")
    allowed = {*methods, *(("HEAD",) if "GET" in methods else ())}
    response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def _empty(status: int) -> Response:
    response = Response(status=status)
    del response.headers["Content-Type"]
    return response


def _refuse_plain_forms() -> None:
    """Want more of a request with the cookie than a form of any page could send.

    Where it comes from has been looked at by now, if the browser said so. One that does not must
    send JSON, which other sites can only after asking (OWASP CSRF cheat sheet, simple requests).
    """
    if request.method in SAFE_METHODS or not state().is_by_cookie():
        return
    tells = "Sec-Fetch-Site" in request.headers or "Origin" in request.headers
    if not tells and not request.is_json:
        raise OtherSiteError


def _keep_out_of_caches(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _refused(error: AuthError) -> Response:
    if status_for(error) == 503:
        current_app.logger.error("accounts are not available", exc_info=error)
        state().forget_session()  # or the database would be asked again
    return json_error(error)


def _refused_by_http(error: HTTPException) -> ResponseReturnValue:
    if error.response is not None or error.code is None:
        return error
    if error.code == 413:  # the application's own limit is a lower one
        return json_error(TooLargeError())
    return _http_error(error.code, error.name)


def _http_error(status: int, name: str) -> Response:
    response = jsonify(error={"code": name.lower().replace(" ", "_"), "message": name})
    response.status_code = status
    return response
