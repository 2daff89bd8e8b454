"""Every page: seen at two widths, light and dark, and free of what axe-core knows to be wrong."""

from __future__ import annotations

import socket
from importlib import resources
from pathlib import Path

import pytest

from derp_auth_lite.flask.demo import create_app
from derp_auth_lite.testing import FakeOAuth

from ..support import PASSWORD
from .conftest import served, sign_in

SIZES = {"phone": {"width": 375, "height": 740}, "desktop": {"width": 1180, "height": 820}}
AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")

OUTSIDE = {
    "sign-up": "/auth/sign-up",
    "sign-in": "/auth/sign-in",
    "magic-link": "/auth/magic-link",
    "forgot-password": "/auth/forgot-password",
    "confirm-again": "/auth/confirm-again",
    "check-mail": "/auth/check-mail?what=confirmation",
    "confirm": "/auth/confirm?token=a",
    "enter": "/auth/enter?token=a",
    "confirm-new-email": "/auth/confirm-new-email?token=a",
    "reset-password": "/auth/reset-password?token=a",
    "signed-out-done": "/auth/sign-in?done=password_set",
}
INSIDE = {
    "notes": "/",
    "account": "/auth/account?done=profile_saved",
    "change-password": "/auth/account/password",
    "change-email": "/auth/account/email",
    "delete-account": "/auth/account/delete",
    "organizations": "/auth/organizations",
    "organization": "/auth/organizations/north-wind",
    "delete-organization": "/auth/organizations/north-wind/delete",
    "sign-in-again": "/auth/sign-in?next=/auth/account/email",
    "sign-out": "/auth/sign-out",
    "mails": "/auth/dev/mail",
    "mail": "/auth/dev/mail/0",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_page_is_whole_and_accessible(site, new_page, pictures, size, scheme):
    """No page is wider than the screen, and none has a violation of axe-core's rules."""
    people(site)
    page = new_page(viewport=SIZES[size], color_scheme=scheme)
    look = Look(page, site, pictures / f"{size}-{scheme}")
    for name, path in OUTSIDE.items():
        look.at(name, path)
    look.after(
        "sign-in-wrong", "/auth/sign-in", {"Email address": "ada@example.com", "Password": "x"}
    )
    look.after(
        "sign-up-wrong", "/auth/sign-up", {"Email address": "x@example.com", "Password": "short"}
    )
    look.after("dead-link", "/auth/confirm?token=a", {})
    sign_in(page, site, "ada@example.com")
    for name, path in INSIDE.items():
        look.at(name, path)
    look.after("password-wrong", "/auth/account/password", {"Current": "x", "New": PASSWORD + "1"})
    assert look.wrong == []


@pytest.mark.parametrize("size", SIZES)
def test_a_provider_signs_in_and_its_buttons_are_accessible(size, new_page, pictures, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    back = f"http://127.0.0.1:{port}/auth/with/acme/back"
    with (
        FakeOAuth(name="acme", redirect_uri=back) as acme,
        served(create_app(tmp_path / "demo", oidc=[acme.config]), port) as site,
    ):
        page = new_page(viewport=SIZES[size])
        look = Look(page, site, pictures / f"{size}-provider")
        look.at("sign-up", "/auth/sign-up")
        look.at("sign-in", "/auth/sign-in")
        page.get_by_role("link", name="Continue with Acme").click()
        page.wait_for_url(f"{site.url}/")
        look.at("account", "/auth/account")
        page.get_by_role("button", name="Remove acme").click()
        page.get_by_text("That way to sign in is removed.").wait_for()
        page.get_by_role("button", name="Link acme").click()
        page.get_by_text("You can sign in that way from now on.").wait_for()
    assert look.wrong == []


def test_a_page_that_is_not_accessible_is_noticed(site, page, tmp_path):
    """The rules of the test above are at work."""
    look = Look(page, site, tmp_path / "pictures")
    page.goto(f"{site.url}/auth/sign-in")
    page.evaluate("document.querySelector('label').remove()")
    look.judge("sign-in")
    assert any("label" in each for each in look.wrong)


AGENTS = (
    "Mozilla/5.0 (iPhone) Version/17 Safari/604.1",
    "Mozilla/5.0 (X11; Linux) Firefox/140.0",
)


def people(site):
    """Fill the application: two people, one with a long address, and two organizations."""
    client = site.client
    ada, grace = (
        client.create_user(
            email=f"{name}@example.com", password=PASSWORD, confirmed=True, first_name=name[:5]
        )
        for name in ("ada", "grace.hopper.with.a.very.long.address.indeed")
    )
    org = client.create_org(name="North Wind Traders", slug="north-wind", creator_id=ada.id)
    client.create_org(name="Garden Club", slug="garden", creator_id=ada.id)
    client.add_org_member(org_id=org.id, user_id=grace.id, role="admin")
    for agent in AGENTS:
        client.sign_in_with_password(
            ada.email, PASSWORD, user_agent=agent, ip_address="203.0.113.7"
        )
    client.request_password_recovery(
        email=ada.email, recovery_url=f"{site.url}/auth/reset-password"
    )


class Look:
    """Visits pages; takes pictures, and notes what is wrong."""

    def __init__(self, page, site, folder: Path) -> None:
        self.page, self.site, self.folder = page, site, folder
        self.folder.mkdir(exist_ok=True)
        self.wrong: list[str] = []

    def at(self, name: str, path: str) -> None:
        self.page.goto(self.site.url + path)
        self.judge(name)

    def after(self, name: str, path: str, fields: dict[str, str]) -> None:
        """Look at a page after its form was sent."""
        self.page.goto(self.site.url + path)
        for label, value in fields.items():
            self.page.get_by_label(label).fill(value)
        self.page.locator("main button.main").click()
        self.page.wait_for_load_state()
        self.judge(name)

    def judge(self, name: str) -> None:
        self.page.screenshot(path=self.folder / f"{name}.png", full_page=True)
        width = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if width > 0:
            self.wrong.append(f"{name}: {width} pixels too wide")
        self.page.evaluate(AXE)
        for found in self.page.evaluate("axe.run()")["violations"]:
            place = found["nodes"][0]["html"][:160]
            self.wrong.append(f"{name}: {found['id']}: {place}")
