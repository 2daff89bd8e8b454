from __future__ import annotations

import socket
import threading
import time
import webbrowser
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests

from derp_auth_lite._clock import utc_now
from derp_auth_lite.config import OIDCConfig
from derp_auth_lite.desktop import sign_in_with_browser
from derp_auth_lite.exceptions import AuthBackendError, InvalidCredentialsError

from .servers import oidc_provider
from .servers.oidc_provider import CLIENT_SECRET, sign_in
from .support import Request, native_client


@pytest.fixture(scope="module")
def issuer():
    with oidc_provider.run() as servers:
        yield servers.standard


@pytest.fixture
def auth(issuer, tmp_path):
    """A client whose provider knows it as a desktop application."""
    corp = OIDCConfig(
        name="corp",
        issuer=issuer,
        client_id="desktop",
        client_secret=CLIENT_SECRET,
        redirect_uri="http://127.0.0.1/callback",
    )
    with native_client(tmp_path / "auth.db", utc_now, oidc=[corp]) as auth:
        yield auth


def query(url):
    return dict(parse_qsl(urlsplit(url).query))


def visit(url, **settings):
    return requests.get(url, timeout=5, **settings)


class Browser:
    """Signs somebody in at the provider and comes back; remembers the pages that it saw."""

    def __init__(self, login="ada", **changes):
        self.login = login
        self.changes = changes
        self.pages = []
        self.url = ""

    def __call__(self, url):
        self.url = url
        back = sign_in(url, self.login, callback=query(url)["redirect_uri"])
        self.pages.append(visit(f"{self.target}?{urlencode({**back, **self.changes})}"))

    @property
    def target(self):
        return query(self.url)["redirect_uri"]


class TestSignIn:
    def test_somebody_signs_in_through_the_browser(self, auth):
        """The program gets a session for who signed in at the provider."""
        browser = Browser()
        result = sign_in_with_browser(auth, "corp", timeout=20, open_browser=browser)
        session = auth.authenticate(Request(result.tokens.access_token))

        assert result.user.email == "ada@example.com"
        assert session.user_id == result.user.id
        assert query(browser.url)["code_challenge_method"] == "S256"

    def test_the_page_says_that_it_can_be_closed(self, auth):
        """The closing page is plain, loads nothing, and is not kept."""
        browser = Browser()
        sign_in_with_browser(auth, "corp", timeout=20, open_browser=browser)
        (page,) = browser.pages

        assert page.status_code == 200
        assert "You can close this window." in page.text
        assert "script" not in page.text
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert "Server" not in page.headers

    def test_it_listens_on_loopback_and_stops(self, auth):
        """The redirect URI is 127.0.0.1, and the port is closed afterwards."""
        browser = Browser()
        sign_in_with_browser(auth, "corp", timeout=20, open_browser=browser)

        assert browser.target.startswith("http://127.0.0.1:")
        assert browser.target.endswith("/callback")
        with pytest.raises(requests.ConnectionError):
            visit(browser.target)

    def test_a_spare_connection_does_not_hold_it_up(self, auth):
        """A connection on which a browser says nothing blocks nobody."""
        browser = Browser()
        spare = socket.socket()

        def open_browser(url):
            spare.connect(("127.0.0.1", urlsplit(query(url)["redirect_uri"]).port))
            browser(url)

        started = time.monotonic()
        with spare:
            sign_in_with_browser(auth, "corp", timeout=20, open_browser=open_browser)

        assert time.monotonic() - started < 5

    def test_a_certain_port_and_path_may_be_asked_for(self, auth):
        """Where a provider compares whole redirect URIs, port and path are given."""
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        seen = []

        def open_browser(url):
            seen.append(query(url)["redirect_uri"])
            visit(
                f"{seen[0]}?{urlencode({'error': 'access_denied', 'state': query(url)['state']})}"
            )

        with pytest.raises(InvalidCredentialsError):
            sign_in_with_browser(
                auth, "corp", timeout=5, open_browser=open_browser, port=port, path="/back"
            )

        assert seen == [f"http://127.0.0.1:{port}/back"]


class TestForeignCallbacks:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"state": "guessed"},
            {"state": ""},
            {"state": None},
            {"code": None},
            {"error": "access_denied"},
            {"twice": "code"},
            {"path": "/"},
            {"path": "/callback/"},
            {"path": "/favicon.ico"},
            {"host": "evil.example"},
            {"host": "localhost:{port}"},
            {"fields": "many"},
        ],
        ids=str,
    )
    def test_what_is_not_the_callback_ends_nothing(self, auth, wrong):
        """A request that somebody else makes is 404, and the person signs in after it."""
        browser = Browser()
        strange = []

        def open_browser(url):
            target, state = query(url)["redirect_uri"], query(url)["state"]
            sent = {"code": "stolen", "state": state, **wrong}
            path, host = sent.pop("path", "/callback"), sent.pop("host", None)
            pairs = [
                (n, v) for n, v in sent.items() if v is not None and n not in ("twice", "fields")
            ]
            pairs += [("code", "x")] if "twice" in wrong else []
            pairs += [(f"n{i}", "") for i in range(50)] if "fields" in wrong else []
            port = urlsplit(target).port
            headers = {"Host": host.format(port=port)} if host else {}
            strange.append(
                visit(f"http://127.0.0.1:{port}{path}?{urlencode(pairs)}", headers=headers)
            )
            browser(url)

        result = sign_in_with_browser(auth, "corp", timeout=20, open_browser=open_browser)

        assert result.user.email == "ada@example.com"
        assert [page.status_code for page in strange] == [404]
        assert [page.status_code for page in browser.pages] == [200]

    def test_only_the_first_callback_counts(self, auth):
        """A callback that comes again is answered with 404."""
        browser = Browser()
        pages = []

        def open_browser(url):
            browser(url)
            pages.append(visit(browser.pages[0].url))

        sign_in_with_browser(auth, "corp", timeout=20, open_browser=open_browser)

        assert [page.status_code for page in pages] == [404]

    @pytest.mark.parametrize("method", ["post", "put", "delete", "head"])
    def test_only_get_is_answered(self, auth, method):
        """Other methods are refused and end nothing."""
        browser = Browser()
        pages = []

        def open_browser(url):
            pages.append(requests.request(method, query(url)["redirect_uri"], timeout=5))
            browser(url)

        sign_in_with_browser(auth, "corp", timeout=20, open_browser=open_browser)

        assert [page.status_code for page in pages] == [501]

    def test_a_callback_of_another_provider_is_refused(self, auth):
        """The provider announces ``iss``: another one in the callback is a refusal (RFC 9207)."""
        browser = Browser(iss="https://evil.example")

        with pytest.raises(InvalidCredentialsError):
            sign_in_with_browser(auth, "corp", timeout=20, open_browser=browser)

    def test_a_code_of_somebody_else_is_refused(self, auth):
        """A code that was not got with this flow's challenge is refused."""
        browser = Browser(code="stolen")

        with pytest.raises(InvalidCredentialsError):
            sign_in_with_browser(auth, "corp", timeout=20, open_browser=browser)

    def test_an_empty_code_is_refused(self, auth):
        """An empty code is a refusal, not a crash."""
        with pytest.raises(InvalidCredentialsError):
            sign_in_with_browser(auth, "corp", timeout=20, open_browser=Browser(code=""))


class TestEndings:
    def test_nobody_comes_back(self, auth):
        """After the time-out a typed error says so, and the port is closed."""
        urls = []
        started = time.monotonic()
        with pytest.raises(InvalidCredentialsError, match="in time"):
            sign_in_with_browser(auth, "corp", timeout=0.3, open_browser=urls.append)

        assert time.monotonic() - started < 2
        with pytest.raises(requests.ConnectionError):
            visit(query(urls[0])["redirect_uri"])

    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            ("access_denied", InvalidCredentialsError),
            ("login_required", InvalidCredentialsError),
            ("<script>\x1b[31m", InvalidCredentialsError),
            ("", InvalidCredentialsError),
            ("server_error", AuthBackendError),
            ("temporarily_unavailable", AuthBackendError),
            ("invalid_scope", AuthBackendError),
        ],
    )
    def test_the_provider_says_no(self, auth, error, kind):
        """A refusal is told from trouble at the provider; foreign text is not repeated."""

        def open_browser(url):
            back = {"error": error, "state": query(url)["state"], "error_description": "<b>"}
            assert visit(f"{query(url)['redirect_uri']}?{urlencode(back)}").status_code == 200

        with pytest.raises(kind) as caught:
            sign_in_with_browser(auth, "corp", timeout=20, open_browser=open_browser)

        assert type(caught.value) is kind
        assert "<" not in caught.value.message

    @pytest.mark.parametrize("problem", [webbrowser.Error("none"), OSError("no display"), None])
    def test_no_browser_is_a_typed_error(self, auth, problem):
        """A machine without a browser is told at once."""

        def open_browser(url):
            if problem is not None:
                raise problem
            return False

        with pytest.raises(AuthBackendError, match="browser"):
            sign_in_with_browser(auth, "corp", timeout=20, open_browser=open_browser)

    def test_a_taken_port_is_a_typed_error(self, auth):
        """A port on which somebody listens cannot be had."""
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            sock.listen()
            with pytest.raises(AuthBackendError, match="listened on"):
                sign_in_with_browser(auth, "corp", port=sock.getsockname()[1])

    def test_an_unknown_provider_is_a_mistake(self, auth):
        """A provider that is not configured is a ValueError, and no browser opens."""
        opened = []
        with pytest.raises(ValueError, match="not configured"):
            sign_in_with_browser(auth, "google", open_browser=opened.append)

        assert opened == []

    def test_no_thread_is_left(self, auth):
        """The listener ends with the call."""
        before = threading.active_count()
        with pytest.raises(InvalidCredentialsError):
            sign_in_with_browser(auth, "corp", timeout=0.1, open_browser=lambda url: None)

        assert threading.active_count() <= before
