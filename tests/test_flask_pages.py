"""The pages, as a browser without JavaScript meets them."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from markupsafe import Markup

from derp_auth_lite.exceptions import RateLimitedError
from derp_auth_lite.flask import FlaskAuth, current_user, login_required
from derp_auth_lite.flask.testing import FlaskAuthClient

from .support import PASSWORD, MovableClock, native_client

EMAIL = "ada@example.com"
BOB = "bob@example.com"
OTHER = "another good password"


@pytest.fixture
def clock():
    return MovableClock()


@pytest.fixture
def accounts(clock):
    client = native_client(":memory:", clock, enable_confirmation=True, enable_magic_link=True)
    yield client
    client.disconnect()


@pytest.fixture
def app(accounts):
    app = Flask("notes")
    app.test_client_class = FlaskAuthClient
    FlaskAuth(app, client=accounts)

    @app.get("/")
    @login_required
    def home():
        return f"Hello {current_user.email}"

    app.get("/notes")(login_required(lambda: "notes"))
    return app


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def ada(accounts):
    return accounts.create_user(email=EMAIL, password=PASSWORD, confirmed=True)


@pytest.fixture
def inside(client, ada):
    """A browser that ada is signed in with."""
    client.sign_in(EMAIL, password=PASSWORD)
    return client


def latest_mail(accounts, kind):
    accounts.deliver_mail()
    mail = accounts.email_client.sent[-1]
    assert mail.kind == kind
    return mail


def path_of(link):
    assert link.startswith("http://localhost/")
    return link.removeprefix("http://localhost")


def follow(client, link, **fields):
    """Open a mail's link and press its button."""
    page = client.get(path_of(link))
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text))
    hidden = {name: Markup(value).unescape() for name, value in hidden.items()}
    return client.post(path_of(link), data={**hidden, **fields})


# Signing up


def test_signing_up_goes_through_the_mailbox_to_where_one_wanted_to_go(client, accounts):
    answer = client.submit("/auth/sign-up", email=EMAIL, password=PASSWORD, next="/notes")
    assert answer.headers["Location"] == "/auth/check-mail?what=confirmation"
    assert "Check your email" in client.get(answer.headers["Location"]).text
    refused = client.submit("/auth/sign-in", email=EMAIL, password=PASSWORD)
    assert "Confirm your email address first" in refused.text
    assert "/auth/confirm-again?email=ada" in refused.text
    link = latest_mail(accounts, "confirmation").link
    answer = follow(client, link)
    assert answer.headers["Location"] == "/auth/sign-in?done=confirmed&next=/notes"
    assert "is confirmed" in client.get(answer.headers["Location"]).text
    answer = client.submit(
        answer.headers["Location"], email=EMAIL, password=PASSWORD, next="/notes"
    )
    assert answer.headers["Location"] == "/notes"
    assert client.get("/notes").text == "notes"


def test_a_taken_address_gets_the_same_answer_and_its_owner_a_mail(client, accounts, ada):
    free = client.submit("/auth/sign-up", email=BOB, password=PASSWORD)
    taken = client.submit("/auth/sign-up", email=EMAIL, password=OTHER)
    assert (free.status_code, free.data, free.headers["Location"]) == (
        taken.status_code,
        taken.data,
        taken.headers["Location"],
    )
    mail = latest_mail(accounts, "account_exists")
    assert mail.to == EMAIL
    assert "/auth/reset-password?token=" in mail.link
    accounts.sign_in_with_password(EMAIL, PASSWORD)


def test_opening_a_link_spends_nothing(client, accounts):
    """Mail scanners open links."""
    client.submit("/auth/sign-up", email=EMAIL, password=PASSWORD)
    link = latest_mail(accounts, "confirmation").link
    for _ in range(3):
        answer = client.get(path_of(link))
        assert answer.status_code == 200
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert accounts.find_user(EMAIL).email_confirmed_at is None
    assert follow(client, link).status_code == 303
    assert accounts.find_user(EMAIL).email_confirmed_at is not None
    dead = follow(client, link)
    assert dead.status_code == 400
    assert "This link does not work" in dead.text


@pytest.mark.parametrize(
    ("fields", "message", "field"),
    [
        ({"email": "no address", "password": PASSWORD}, "Enter an email address", "email"),
        ({"email": EMAIL, "password": "short"}, "at least 8", "password"),
    ],
)
def test_what_is_wrong_stands_at_its_field_and_what_was_typed_stays(client, fields, message, field):
    answer = client.submit("/auth/sign-up", **fields)
    assert answer.status_code == 400
    assert message in answer.text
    assert re.search(rf'name="{field}"[^>]* aria-invalid="true"', answer.text)
    assert (
        f'aria-describedby="{field}-error'
        in re.search(rf'<input id="{field}"[^>]*>', answer.text)[0]
    )
    assert Markup.escape(fields["email"]) in answer.text
    assert fields["password"] not in answer.text


def test_without_confirmation_one_is_in_at_once_and_a_taken_address_is_told(clock):
    accounts = native_client(":memory:", clock)
    app = Flask("notes")
    app.test_client_class = FlaskAuthClient
    FlaskAuth(app, client=accounts)
    client = app.test_client()
    assert client.submit("/auth/sign-up", email=EMAIL, password=PASSWORD).headers["Location"] == "/"
    assert client.get("/auth/account").status_code == 200
    taken = app.test_client().submit("/auth/sign-up", email=EMAIL, password=PASSWORD)
    assert taken.status_code == 409
    assert "an account with this address already" in taken.text
    accounts.disconnect()


def test_where_signing_up_is_off_there_is_no_form(clock):
    accounts = native_client(":memory:", clock, enable_signup=False)
    app = Flask("notes")
    FlaskAuth(app, client=accounts)
    answer = app.test_client().get("/auth/sign-up")
    assert answer.status_code == 403
    assert "No new accounts" in answer.text
    assert app.test_client().get("/auth/magic-link").status_code == 404
    assert app.test_client().get("/auth/enter?token=a").status_code == 404
    accounts.disconnect()


def test_a_confirmation_is_sent_again(client, accounts):
    client.submit("/auth/sign-up", email=EMAIL, password=PASSWORD)
    answer = client.submit("/auth/confirm-again", email=EMAIL)
    assert answer.headers["Location"] == "/auth/check-mail?what=confirmation"
    accounts.deliver_mail()
    assert [mail.kind for mail in accounts.email_client.sent] == ["confirmation"] * 2


# Signing in


@pytest.mark.parametrize("email", [EMAIL, "nobody@example.com", "no address"])
def test_a_refused_sign_in_says_the_same_of_every_address(client, ada, email):
    answer = client.submit("/auth/sign-in", email=email, password="wrong")
    assert answer.status_code == 401
    assert "Email address or password is wrong." in answer.text
    assert answer.text.count('aria-describedby="form-error"') == 2


def test_a_disabled_account_is_told_so_after_its_password(client, accounts, ada):
    accounts.update_user(user_id=ada.id, is_active=False)
    answer = client.submit("/auth/sign-in", email=EMAIL, password=PASSWORD)
    assert "This account is disabled" in answer.text


def test_a_magic_link_signs_in_once(client, accounts, ada):
    answer = client.submit("/auth/magic-link", email=EMAIL, next="/notes")
    assert "If this address can sign in here" in client.get(answer.headers["Location"]).text
    link = latest_mail(accounts, "magic_link").link
    assert client.get(path_of(link)).status_code == 200
    assert follow(client, link).headers["Location"] == "/notes"
    assert client.get("/").text == f"Hello {EMAIL}"
    assert "This link does not work" in follow(client, link).text


@pytest.mark.parametrize("page", ["magic-link", "forgot-password", "confirm-again"])
def test_asking_for_a_mail_says_the_same_of_every_address(client, accounts, ada, page):
    known = client.submit(f"/auth/{page}", email=EMAIL)
    unknown = client.submit(f"/auth/{page}", email="nobody@example.com")
    assert (known.status_code, known.headers["Location"]) == (303, unknown.headers["Location"])
    assert client.submit(f"/auth/{page}", email="no address").status_code == 400


def test_a_forgotten_password_is_replaced_and_everybody_is_signed_out(inside, app, accounts):
    inside.submit("/auth/forgot-password", email=EMAIL)
    link = latest_mail(accounts, "recovery").link
    other = app.test_client()
    weak = follow(other, link, password="short")
    assert weak.status_code == 400
    assert "at least 8" in weak.text
    answer = follow(other, link, password=OTHER)
    assert answer.headers["Location"] == "/auth/sign-in?done=password_set"
    assert "Your new password is set" in other.get(answer.headers["Location"]).text
    assert inside.get("/notes").status_code == 303
    assert other.submit("/auth/sign-in", email=EMAIL, password=OTHER).status_code == 303
    assert "Ask for a new link" in follow(other, link, password=OTHER).text


def test_who_tries_too_often_is_told_how_long_to_wait(client, accounts, ada, monkeypatch):
    def refuse(*_, **__):
        raise RateLimitedError(29.6)

    monkeypatch.setattr(accounts, "sign_in_with_password", refuse)
    answer = client.submit("/auth/sign-in", email=EMAIL, password=PASSWORD)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "30")
    assert "Too many attempts" in answer.text


# The account


def test_names_are_changed_and_shown(inside, accounts):
    answer = inside.submit(
        "/auth/account", to="/auth/account/profile", first_name=" Ada ", last_name="<b>"
    )
    page = inside.get(answer.headers["Location"]).text
    assert "Your name is saved." in page
    assert 'value="Ada"' in page
    assert "<b>" not in page
    bad = inside.submit("/auth/account", to="/auth/account/profile", first_name="a" * 300)
    assert bad.status_code == 400
    assert "This cannot be kept" in bad.text


def test_a_form_cannot_give_its_sender_rights(inside, accounts, ada):
    inside.submit(
        "/auth/account", to="/auth/account/profile", role="admin", is_superuser="1", user_id="x"
    )
    user = accounts.get_user(ada.id)
    assert (user.role, user.is_superuser) == ("default", False)


def test_a_password_is_changed_with_the_present_one(inside, app, accounts):
    other = app.test_client()
    other.sign_in(EMAIL, password=PASSWORD)
    page = "/auth/account/password"
    wrong = inside.submit(page, current_password="x", password=OTHER)
    assert (wrong.status_code, "The current password is wrong." in wrong.text) == (403, True)
    weak = inside.submit(page, current_password=PASSWORD, password="short")
    assert (weak.status_code, "at least 8" in weak.text) == (400, True)
    answer = inside.submit(page, current_password=PASSWORD, password=OTHER)
    assert "Your password is changed" in inside.get(answer.headers["Location"]).text
    assert other.get("/notes").status_code == 303


def test_an_address_is_changed_by_the_link_that_goes_there(inside, accounts, ada):
    page = "/auth/account/email"
    assert inside.submit(page, email="no address").status_code == 400
    answer = inside.submit(page, email="new@example.com")
    assert "your new address" in inside.get(answer.headers["Location"]).text
    mail = latest_mail(accounts, "email_change")
    assert mail.to == "new@example.com"
    assert accounts.get_user(ada.id).email == EMAIL
    answer = follow(inside, mail.link)
    assert answer.headers["Location"] == "/auth/account?done=email_changed"
    assert accounts.get_user(ada.id).email == "new@example.com"
    assert "Go to your account" in follow(inside, mail.link).text


def test_an_address_is_changed_only_by_who_signed_in_just_now(inside, clock):
    clock.advance(minutes=16)
    answer = inside.get("/auth/account/email")
    assert answer.headers["Location"] == "/auth/sign-in?next=/auth/account/email"
    page = inside.get(answer.headers["Location"])
    assert "Sign in again" in page.text
    answer = inside.submit(
        "/auth/sign-in", email=EMAIL, password=PASSWORD, next="/auth/account/email"
    )
    assert inside.get(answer.headers["Location"]).status_code == 200


def test_one_signs_out_elsewhere(inside, app, accounts, ada):
    others = [app.test_client() for _ in range(3)]
    for other in others:
        other.sign_in(EMAIL, password=PASSWORD)
    first = accounts.authenticate_cookie(others[0].get_cookie("auth").value).session_id
    page = inside.get("/auth/account").text
    assert page.count("Sign out there") == 3
    assert page.count("This device") == 1
    answer = inside.submit("/auth/account", to=f"/auth/account/sessions/{first}/end")
    assert "Signed out there." in inside.get(answer.headers["Location"]).text
    assert others[0].get("/notes").status_code == 303
    assert others[1].get("/notes").status_code == 200
    inside.submit("/auth/account", to="/auth/account/sessions/end-others")
    assert [other.get("/notes").status_code for other in others] == [303] * 3
    assert inside.get("/notes").status_code == 200


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("account/sessions/end-others", {}),
        ("organizations/switch", {}),
        ("organizations", {"name": "South Wind"}),
    ],
    ids=["end-others", "switch", "make"],
)
def test_whose_session_ends_while_a_form_is_sent_signs_in_again(
    inside, accounts, monkeypatch, path, fields
):
    page = inside.get("/auth/account")
    token = page.text.split('csrf_token" value="')[1].split('"')[0]
    looked_up = accounts.authenticate_cookie

    def look_up_and_end(value):
        session = looked_up(value)
        accounts.sign_out(session.session_id)
        return session

    monkeypatch.setattr(accounts, "authenticate_cookie", look_up_and_end)
    answer = inside.post(f"/auth/{path}", data={"csrf_token": token, **fields})
    assert (answer.status_code, answer.headers.get("Location")) == (303, "/auth/sign-in")


def test_nobody_ends_somebody_elses_session(inside, app, accounts):
    other = app.test_client()
    other.sign_in(BOB)
    foreign = accounts.authenticate_cookie(other.get_cookie("auth").value).session_id
    answer = inside.submit("/auth/account", to=f"/auth/account/sessions/{foreign}/end")
    assert answer.status_code == 404
    assert other.get("/notes").status_code == 200


def test_an_account_is_deleted_by_who_is_sure(inside, accounts, ada):
    assert inside.get("/auth/account/delete").status_code == 200
    assert "Tick this" in inside.submit("/auth/account/delete").text
    org = accounts.create_org(name="North", slug="north", creator_id=ada.id)
    last = inside.submit("/auth/account/delete", sure="yes")
    assert (last.status_code, "the only owner" in last.text) == (409, True)
    accounts.delete_org(org_id=org.id)
    answer = inside.submit("/auth/account/delete", sure="yes")
    assert "Your account is deleted." in inside.get(answer.headers["Location"]).text
    assert accounts.find_user(EMAIL) is None


# Organizations


@pytest.fixture
def org(inside):
    inside.submit("/auth/organizations", name="North Wind & Co.")
    return "/auth/organizations/north-wind-co"


def test_an_organization_is_made_and_active(inside, org, accounts, ada):
    page = inside.get(org).text
    assert "North Wind &amp; Co." in page
    assert '<span class="tag">Active</span>' in page
    again = inside.submit("/auth/organizations", name="Other", slug="north-wind-co")
    assert (again.status_code, "This short name is taken" in again.text) == (409, True)
    assert inside.submit("/auth/organizations", name="").status_code == 400


def test_one_switches_between_organizations(inside, org, accounts, ada):
    inside.submit("/auth/organizations", name="Garden")
    north, garden = (accounts.get_org(slug=slug) for slug in ("north-wind-co", "garden"))

    def active():
        return accounts.authenticate_cookie(inside.get_cookie("auth").value).org_id

    assert active() == garden.id
    switch = "/auth/organizations/switch"
    answer = inside.submit("/auth/organizations", to=switch, org_id=north.id)
    assert active() == north.id
    assert "another organization now" in inside.get(answer.headers["Location"]).text
    inside.submit("/auth/organizations", to=switch)
    assert active() is None
    foreign = accounts.create_org(name="F", slug="f", creator_id=accounts.create_user(email=BOB).id)
    answer = inside.submit("/auth/organizations", to=switch, org_id=foreign.id)
    assert (answer.status_code, active()) == (404, None)


def test_an_owner_adds_changes_and_removes_members(inside, org, accounts, app):
    bob = app.test_client()
    user = bob.sign_in(BOB)
    assert bob.get(org).status_code == 404
    unknown = inside.submit(org, to=f"{org}/members", email="nobody@example.com", role="member")
    assert "Nobody has an account" in unknown.text
    inside.submit(org, to=f"{org}/members", email=BOB, role="member")
    again = inside.submit(org, to=f"{org}/members", email=BOB, role="member")
    assert (again.status_code, "a member already" in again.text) == (409, True)
    assert "Add a member" not in bob.get(org).text
    for path in (f"{org}/members", f"{org}/rename", f"{org}/members/{user.id}"):
        assert bob.submit(org, to=path, email=EMAIL, role="owner", name="X").status_code == 403
    inside.submit(org, to=f"{org}/members/{user.id}", role="admin")
    assert "Admin" in bob.get(org).text
    assert inside.submit(org, to=f"{org}/members/{user.id}", role="emperor").status_code == 400
    inside.submit(org, to=f"{org}/members/{user.id}", action="remove")
    assert bob.get(org).status_code == 404


def test_a_role_that_the_application_gave_is_shown_and_not_changed_by_saving(
    inside, org, accounts, ada
):
    bob = accounts.create_user(email=BOB)
    (engines,) = accounts.list_orgs(user_id=ada.id)
    accounts.add_org_member(org_id=engines.id, user_id=bob.id, role="head of sales")
    chosen = re.findall(r"<option value=\"(\w*)\" selected>(.*?)</option>", inside.get(org).text)
    assert ("", "Head of sales") in chosen
    inside.submit(org, to=f"{org}/members/{bob.id}", role="")
    assert accounts.get_org_member(org_id=engines.id, user_id=bob.id).role == "head of sales"


def test_the_last_owner_can_neither_leave_nor_step_down(inside, org, ada):
    for path, fields in (
        (f"{org}/leave", {}),
        (f"{org}/members/{ada.id}", {"role": "member"}),
        (f"{org}/members/{ada.id}", {"action": "remove"}),
    ):
        answer = inside.submit(org, to=path, **fields)
        assert (answer.status_code, "needs an owner" in answer.text) == (409, True)


@pytest.mark.parametrize(
    "cursor", ["x", "%00", "%ed%a0%80", "a" * 5000], ids=["word", "nul", "surrogate", "long"]
)
def test_a_page_of_members_that_there_is_not_is_not_found(inside, org, cursor):
    assert inside.get(f"{org}?after={cursor}").status_code == 404


def test_a_member_who_is_deleted_while_the_page_is_made_is_left_out(
    inside, org, accounts, monkeypatch
):
    bob = accounts.create_user(email=BOB)
    accounts.add_org_member(
        org_id=accounts.get_org(slug="north-wind-co").id, user_id=bob.id, role="member"
    )
    listed = accounts.list_org_members_by_cursor

    def list_and_lose(**which):
        page = listed(**which)
        accounts.delete_user(bob.id)
        return page

    monkeypatch.setattr(accounts, "list_org_members_by_cursor", list_and_lose)
    page = inside.get(org)
    assert (page.status_code, BOB in page.text, EMAIL in page.text) == (200, False, True)


def test_an_organization_is_renamed_left_and_deleted(inside, org, accounts, ada):
    inside.submit(org, to=f"{org}/rename", name="South")
    assert "South" in inside.get(org).text
    assert inside.submit(org, to=f"{org}/rename", name="").status_code == 400
    other = accounts.create_user(email=BOB)
    org_id = accounts.get_org(slug="north-wind-co").id
    accounts.add_org_member(org_id=org_id, user_id=other.id, role="owner")
    inside.submit(org, to=f"{org}/members/{ada.id}", role="owner")
    assert "Tick this" in inside.submit(f"{org}/delete").text
    inside.submit(org, to=f"{org}/leave")
    assert inside.get(org).status_code == 404
    accounts.add_org_member(org_id=org_id, user_id=ada.id, role="owner")
    answer = inside.submit(f"{org}/delete", sure="yes")
    assert "The organization is deleted." in inside.get(answer.headers["Location"]).text


# All of them


def test_every_page_has_the_headers_that_keep_it_safe(app, inside):
    paths = [
        rule.rule
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("auth.") and "GET" in rule.methods and not rule.arguments
    ]
    assert len(paths) > 15
    for path in paths:
        answer = inside.get(path)
        if answer.status_code == 404:
            continue
        assert answer.status_code == 200, path
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] in ("no-referrer", "same-origin")
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "<script" not in answer.text
        assert " style=" not in answer.text


def test_nothing_that_is_typed_becomes_markup(client):
    answer = client.submit("/auth/sign-in", email='"><script>alert(1)</script>', password="x")
    assert "<script" not in answer.text
    page = client.get("/auth/confirm?token=%22%3E%3Cscript%3E&done=%3Cscript%3E")
    assert "<script" not in page.text


def test_an_application_replaces_one_page_by_a_file_of_its_own(tmp_path, accounts):
    (tmp_path / "templates" / "auth").mkdir(parents=True)
    (tmp_path / "templates" / "auth" / "sign_in.html").write_text("my own page", encoding="utf-8")
    app = Flask("notes", root_path=str(tmp_path))
    FlaskAuth(app, client=accounts)
    assert app.test_client().get("/auth/sign-in").text == "my own page"
    assert "Create an account" in app.test_client().get("/auth/sign-up").text


def test_sent_mails_are_shown_while_debugging_on_this_machine_only(app, inside, accounts):
    inside.submit("/auth/forgot-password", email=EMAIL)
    assert inside.get("/auth/dev/mail").status_code == 404
    app.debug = True
    assert "Reset your password" in inside.get("/auth/dev/mail").text
    assert "/auth/reset-password?token=" in inside.get("/auth/dev/mail/0").text
    assert inside.get("/auth/dev/mail/1").status_code == 404
    assert inside.get("/auth/dev/mail", base_url="http://app.test").status_code == 404
    far = {"REMOTE_ADDR": "203.0.113.7"}
    assert inside.get("/auth/dev/mail", environ_overrides=far).status_code == 404
