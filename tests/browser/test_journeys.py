"""What people do, in a real browser, from the first page to the last."""

from __future__ import annotations

import contextlib
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ..support import PASSWORD
from .conftest import sign_in

EMAIL = "ada@example.com"
OTHER = "another good password"
AT_HOME = re.compile(r"/$")


def press(page, name):
    page.get_by_role("main").get_by_role("button", name=name).click()


def test_from_signing_up_to_being_signed_out_elsewhere(site, new_page):
    """Sign up, read the mail, confirm, sign in; a second browser signs the first one out."""
    first, second = new_page(), new_page()
    first.goto(site.url)
    first.get_by_role("link", name="Create an account").click()
    first.get_by_label("Email address").fill(EMAIL)
    first.get_by_label("Password").fill(PASSWORD)
    press(first, "Create account")
    first.get_by_role("link", name="Show sent mails").click()
    first.get_by_role("link", name=re.compile("Confirm")).click()
    first.get_by_role("link", name="Open its link").click()
    press(first, "Confirm my address")
    first.get_by_label("Email address").fill(EMAIL)
    first.get_by_label("Password").fill(PASSWORD)
    press(first, "Sign in")
    first.wait_for_url(AT_HOME)
    first.get_by_label("New note").fill("Buy milk")
    press(first, "Add")
    assert first.get_by_text("Buy milk", exact=True).first.is_visible()

    sign_in(second, site, EMAIL)
    assert second.get_by_text("Buy milk", exact=True).first.is_visible()
    second.goto(f"{site.url}/auth/account")
    press(second, "Sign out there")
    assert second.get_by_text("Signed out there.").is_visible()
    first.reload()
    assert "/auth/sign-in" in first.url
    second.get_by_role("navigation").get_by_role("button", name="Sign out").click()
    assert "/auth/sign-in" in second.url


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(site, page):
    site.user(EMAIL)
    sign_in(page, site, EMAIL)
    (cookie,) = [c for c in page.context.cookies() if c["name"] == "auth"]
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")
    assert "auth=" not in page.evaluate("document.cookie")


def test_a_forgotten_password_is_replaced(site, page):
    site.user(EMAIL)
    page.goto(f"{site.url}/auth/sign-in")
    page.get_by_role("link", name="Forgot your password?").click()
    page.get_by_label("Email address").fill(EMAIL)
    press(page, "Send the link")
    assert page.get_by_role("heading", name="Check your email").is_visible()
    page.goto(site.link_to(EMAIL))
    page.get_by_label("New password").fill(OTHER)
    press(page, "Set the password")
    assert page.get_by_text("Your new password is set").is_visible()
    sign_in(page, site, EMAIL, OTHER)


def test_a_magic_link_signs_in(site, page):
    site.user(EMAIL)
    page.goto(f"{site.url}/auth/magic-link")
    page.get_by_label("Email address").fill(EMAIL)
    press(page, "Send the link")
    page.get_by_role("heading", name="Check your email").wait_for()
    page.goto(site.link_to(EMAIL))
    press(page, "Sign in")
    page.wait_for_url(AT_HOME)


def test_an_organization_is_made_and_switched(site, page):
    site.user(EMAIL)
    sign_in(page, site, EMAIL)
    page.goto(f"{site.url}/auth/organizations")
    page.get_by_label("Name", exact=True).fill("North Wind")
    press(page, "Create organization")
    page.get_by_text("Your organization is ready.").wait_for()
    page.goto(site.url)
    assert page.get_by_role("heading", name="Notes of North Wind").is_visible()
    page.goto(f"{site.url}/auth/organizations")
    press(page, "Work without an organization")
    page.goto(site.url)
    assert page.get_by_role("heading", name="Your notes").is_visible()


def test_everything_can_be_done_with_the_keyboard(site, page):
    site.user(EMAIL)
    page.goto(f"{site.url}/auth/sign-in")
    page.locator("#email:focus").wait_for()
    page.keyboard.type(EMAIL)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(AT_HOME)


@pytest.mark.parametrize(("host", "status"), [("localhost", 303), ("127.0.0.1", 403)])
def test_a_page_of_another_site_can_do_nothing(site, page, host, status):
    """To another host the browser gives no cookie (SameSite); the same host's other port is told
    by ``Sec-Fetch-Site``.
    """
    site.user(EMAIL)
    sign_in(page, site, EMAIL)
    form = f'<form method="post" action="{site.url}/notes"><input name="text" value="x"></form>'
    with elsewhere(form, host) as url:
        page.goto(url)
        with page.expect_response(f"{site.url}/notes") as answer:
            page.evaluate("document.forms[0].submit()")
        assert answer.value.status == status
    page.goto(site.url)
    assert page.get_by_text("Nothing here yet.").is_visible()


@contextlib.contextmanager
def elsewhere(body, host):
    """Serve a page on another port of this machine; the URL has *host*."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://{host}:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()
