"""Sign-in with a provider for programs without a web server: through the system's browser.

The flow is that of RFC 8252: the provider sends the browser to a port of this machine's loopback
interface, on which this module listens for the one callback that belongs to the flow.
"""

from __future__ import annotations

import hmac
import http.server
import queue
import socketserver
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from .exceptions import AuthBackendError, InvalidCredentialsError
from .models import AuthProvider, AuthResult, OAuthStart

__all__ = ["BrowserSignIn", "sign_in_with_browser"]

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<h1>{title}</h1><p>{text}</p></html>
"""
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Connection": "close",
}
_PROVIDER_TROUBLE = frozenset(
    {
        "invalid_request",
        "invalid_scope",
        "server_error",
        "temporarily_unavailable",
        "unauthorized_client",
        "unsupported_response_type",
    }
)
_SECONDS_A_REQUEST = 10


class BrowserSignIn(Protocol):
    """What is asked of a client: to begin and to end a sign-in at a provider."""

    def start_oauth(
        self, provider: str | AuthProvider, *, redirect_uri: str | None = None
    ) -> OAuthStart:
        """Begin a sign-in."""

    def sign_in_with_oauth(
        self,
        provider: str | AuthProvider,
        code: str,
        *,
        redirect_uri: str | None = None,
        state: str | None = None,
        iss: str | None = None,
        binding: str | None = None,
    ) -> AuthResult:
        """End it with what the callback brought."""


def sign_in_with_browser(
    auth: BrowserSignIn,
    provider: str | AuthProvider,
    *,
    timeout: float = 180.0,
    open_browser: Callable[[str], object] = webbrowser.open,
    path: str = "/callback",
    port: int = 0,
) -> AuthResult:
    """Sign in with *provider* in the system's browser, and wait until that is done.

    The redirect URI is ``http://127.0.0.1:PORT/callback``. Register it without a port where the
    provider knows desktop applications (Google, GitHub, most others: RFC 8252, 7.3); else choose a
    *port* and register that.

    Args:
        auth: A connected client.
        provider: ``"google"``, ``"github"``, or the name of a configured provider.
        timeout: Seconds that the person has for it; a flow itself lasts ten minutes.
        open_browser: Is given the URL to open; returns ``False`` if it cannot.
        path: The path of the redirect URI.
        port: The port to listen on; 0 is any that is free.

    Raises:
        InvalidCredentialsError: The person or the provider said no, or nobody came back in time.
        AuthBackendError: The provider is in trouble, no browser could be opened, or the port is
            taken.
        ValueError: The provider is not configured.
    """
    until = time.monotonic() + timeout
    with _listening(port) as server:
        redirect_uri = f"http://127.0.0.1:{server.server_address[1]}{path}"
        begun = auth.start_oauth(provider, redirect_uri=redirect_uri)
        server.expect(path, begun.state)
        _open(begun.url, open_browser)
        answer = _wait(server.callbacks, until)
    if "error" in answer:
        raise _refusal(str(provider), answer["error"])
    return auth.sign_in_with_oauth(
        provider,
        answer["code"],
        redirect_uri=redirect_uri,
        state=answer["state"],
        iss=answer.get("iss"),
        binding=begun.binding,
    )


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Listens on loopback for one callback. Browsers open spare connections: hence the threads."""

    daemon_threads = True
    block_on_close = False
    # On Windows the option would let another program listen on the same port.
    allow_reuse_address = False

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.callbacks: queue.Queue[dict[str, str]] = queue.Queue()
        self._path = ""
        self._state = ""
        self._first = threading.Lock()

    def expect(self, path: str, state: str) -> None:
        """Take the callback of this flow; until this is called none is taken."""
        self._path, self._state = path, state

    def take(self, target: str, host: str) -> dict[str, str] | None:
        """Return the query of a request that is the flow's callback; the first one only.

        The state is compared here already, so that a page that guesses the port cannot end the
        flow, and the host, so that no foreign name points here (DNS rebinding).
        """
        try:
            parts = urlsplit(target)
            pairs = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=20)
        except ValueError:
            return None
        answer = dict(pairs)
        fits = (
            self._state != ""
            and hmac.compare_digest(answer.get("state", "").encode(), self._state.encode())
            and parts.path == self._path
            and host == f"127.0.0.1:{self.server_address[1]}"
            and len(answer) == len(pairs)
            and ("code" in answer) != ("error" in answer)
        )
        return answer if fits and self._first.acquire(blocking=False) else None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about a browser that hangs up; the person will try again."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    timeout = _SECONDS_A_REQUEST

    def do_GET(self) -> None:
        answer = self.server.take(self.path, self.headers.get("Host", ""))
        if answer is None:
            self._show(404, "Nothing here", "This address serves a sign-in that is under way.")
            return
        try:
            self._show(200, "Back to the program", "You can close this window.")
        finally:
            self.server.callbacks.put(answer)

    def _show(self, status: int, title: str, text: str) -> None:
        page = _PAGE.format(title=escape(title), text=escape(text)).encode()
        self.send_response_only(status)
        for name, value in {**_HEADERS, "Content-Length": str(len(page))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *args: object) -> None:
        """Log nothing: the request line holds the code."""


@contextmanager
def _listening(port: int) -> Iterator[_Server]:
    try:
        server = _Server(port)
    except (OSError, OverflowError) as error:
        raise AuthBackendError(f"Port {port} of this machine cannot be listened on") from error
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _open(url: str, open_browser: Callable[[str], object]) -> None:
    try:
        opened = open_browser(url)
    except (webbrowser.Error, OSError) as error:
        raise AuthBackendError("No browser could be opened") from error
    if opened is False:
        raise AuthBackendError("No browser could be opened")


def _wait(callbacks: queue.Queue[dict[str, str]], until: float) -> dict[str, str]:
    try:
        return callbacks.get(timeout=max(0.0, until - time.monotonic()))
    except queue.Empty:
        pass
    raise InvalidCredentialsError("Nobody came back from the provider in time")


def _refusal(provider: str, error: str) -> Exception:
    """Translate the error of a callback (RFC 6749, section 4.1.2.1)."""
    if error in _PROVIDER_TROUBLE:
        return AuthBackendError(f"Signing in with {provider} is not possible: {error}")
    return InvalidCredentialsError(f"Signing in with {provider} was not completed")
