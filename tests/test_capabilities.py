"""The README's table of what each backend offers, against the code."""

from __future__ import annotations

import inspect
import re
import uuid
from pathlib import Path

import pytest

from derp_auth_lite.base import BaseAuthClient
from derp_auth_lite.native_client import NativeAuthClient
from derp_auth_lite.supabase_client import SupabaseAuthClient
from derp_auth_lite.testing import FakeSupabase
from derp_auth_lite.testing.workos import FakeWorkOS
from derp_auth_lite.workos_client import WorkOSAuthClient

from . import supabase_support
from .support import MovableClock
from .workos_support import connected

README = (Path(__file__).parent.parent / "README.rst").read_text(encoding="utf-8")
SECTION = re.split(r"\n[^\n]+\n-{4,}\n", README.partition("What each backend offers\n")[2])[0]
ROWS = re.findall(r"^``(\w+)`` +(\w+) +(\w+) +(\w+)$", SECTION, flags=re.MULTILINE)
BACKENDS = (NativeAuthClient, SupabaseAuthClient, WorkOSAuthClient)
INTERFACE = [
    name
    for name, value in vars(BaseAuthClient).items()
    if not name.startswith("_") and callable(value)
]


def offered(backend, name):
    """Return what the code says: a method that can refuse to do its work says so in its source."""
    method = getattr(backend, name)
    if "NotImplementedError" not in inspect.getsource(method):
        return "yes"
    inherited = method is getattr(BaseAuthClient, name)
    return "no" if inherited or inspect.getdoc(method).startswith("Not offered") else "partly"


def test_the_table_has_every_method_of_the_interface():
    assert [row[0] for row in ROWS] == INTERFACE
    assert len(INTERFACE) == 45


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_table_says_what_is_so(row):
    name, *cells = row
    assert cells == [offered(backend, name) for backend in BACKENDS]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_gap_is_explained(row):
    name, *cells = row
    explained = re.search(rf"^(``\w+``, )*``{name}``(, ``\w+``)*\n    \S", SECTION, re.MULTILINE)
    assert bool(explained) == (set(cells) != {"yes"})


GAPS = {
    "get_oauth_provider": (lambda auth: auth.get_oauth_provider("google"), "authorization_url"),
    "list_sessions": (lambda auth: auth.list_sessions(), "pass user_id="),
    "set_active_org": (
        lambda auth: auth.set_active_org(session_id="s", org_id="org_1"),
        "pass refresh_token=",
    ),
}


SUPABASE_GAPS = {
    "get_oauth_provider": (lambda auth: auth.get_oauth_provider("google"), "authorization_url"),
    "list_sessions": (lambda auth: auth.list_sessions(), "query auth.sessions"),
    "list_sessions_by_cursor": (
        lambda auth: auth.list_sessions_by_cursor(user_id="x"),
        "query auth.sessions",
    ),
    "list_users_by_cursor": (lambda auth: auth.list_users_by_cursor(), "limit and offset"),
    "set_active_org": (
        lambda auth: auth.set_active_org(session_id="s", org_id=None),
        "pass refresh_token=",
    ),
    "sign_in_with_oauth": (
        lambda auth: auth.sign_in_with_oauth("google", "code"),
        "pass state=",
    ),
    "sign_out": (lambda auth: auth.sign_out(str(uuid.uuid4())), "set SupabaseConfig.jwt_secret"),
    "sign_out_all": (
        lambda auth: auth._sign_out_by_link(auth.create_user(email="ada@example.com")),
        "set SupabaseConfig.jwt_secret",
    ),
}


def test_what_supabase_does_not_offer_says_what_to_do_instead():
    lacking = {row[0] for row in ROWS if row[2] != "yes"}
    assert lacking == set(SUPABASE_GAPS)
    with (
        FakeSupabase(clock=MovableClock(), legacy_secret=False) as project,
        supabase_support.connected(project.config, project.clock) as auth,
    ):
        for call, advice in SUPABASE_GAPS.values():
            with pytest.raises(NotImplementedError, match=advice):
                call(auth)


def test_what_workos_does_not_offer_says_what_to_do_instead():
    """Every method that is not whole is called, and none of them calls the service."""
    lacking = {row[0] for row in ROWS if row[3] != "yes"}
    with (
        FakeWorkOS(clock=MovableClock()) as service,
        connected(service.config, service.clock) as auth,
    ):
        for call, advice in (GAPS[name] for name in sorted(lacking)):
            with pytest.raises(NotImplementedError, match=advice):
                call(auth)
        with pytest.raises(NotImplementedError, match="sign in again"):
            auth.set_active_org(session_id="s", org_id=None, refresh_token="t")
        assert service.calls == []
