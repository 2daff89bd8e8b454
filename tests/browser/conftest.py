"""A browser, and the notes application for it to visit."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from werkzeug.serving import make_server

from derp_auth_lite.flask.demo import create_app

from ..support import PASSWORD

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Site:
    """The application while it is served, and the mails that it sends."""

    def __init__(self, app: Any, url: str) -> None:
        self.app = app
        self.url = url
        self.client = app.extensions["derp_auth_lite"].client

    def link_to(self, address: str) -> str:
        """Return the link of the latest mail to an address."""
        self.client.deliver_mail()
        mails = [mail for mail in self.client.email_client.sent if mail.to == address]
        assert mails, f"no mail to {address}"
        return mails[-1].link

    def user(self, email: str) -> None:
        """Make an account that can sign in."""
        self.client.create_user(email=email, password=PASSWORD, confirmed=True)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert found is not None, "install Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        started = playwright.chromium.launch(executable_path=found, args=flags)
        yield started
        started.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """The notes application on a free port of this machine."""
    with served(create_app(tmp_path / "demo")) as site:
        yield site


@contextlib.contextmanager
def served(app: Any, port: int = 0) -> Iterator[Site]:
    """Serve the application, on a free port unless one is named."""
    app.debug = True
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Site(app, f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()
    app.extensions["derp_auth_lite"].client.disconnect()


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages, each in a browser of its own: they share no cookie."""
    contexts = []

    def open_page(**options: Any) -> Page:
        context = browser.new_context(**options)
        context.set_default_timeout(10_000)
        contexts.append(context)
        return context.new_page()

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """One page."""
    return new_page()


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Where pictures of the pages are put."""
    folder = Path(os.environ.get("DERP_AUTH_LITE_TEST_PICTURES", ".tox/pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def sign_in(page: Page, site: Site, email: str, password: str = PASSWORD) -> None:
    """Sign in through the page."""
    page.goto(f"{site.url}/auth/sign-in")
    page.get_by_label("Email address").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile(r"/$"))
