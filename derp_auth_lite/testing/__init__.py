"""The library in tests: fast, offline, leaving nothing behind.

With pytest, the fixtures of :mod:`.plugin` are there by themselves. Without::

    with open_test_auth() as auth:
        ada = make_user(auth, email="ada@example.com")
        session = auth.authenticate(Request(auth_headers(auth, ada)))
"""

from __future__ import annotations

from .clock import MovableClock
from .fake_oauth import Callback, FakeOAuth
from .kit import PASSWORD, Request, auth_headers, make_user, open_test_auth, sign_in_as
from .outbox import Outbox
from .supabase import FakeSupabase
from .workos import FakeWorkOS

__all__ = [
    "PASSWORD",
    "Callback",
    "FakeOAuth",
    "FakeSupabase",
    "FakeWorkOS",
    "MovableClock",
    "Outbox",
    "Request",
    "auth_headers",
    "make_user",
    "open_test_auth",
    "sign_in_as",
]
