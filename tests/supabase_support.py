"""What the tests of the Supabase backend share."""

from __future__ import annotations

import contextlib

from derp_auth_lite.kv.memory import MemoryKV
from derp_auth_lite.orm import DatabaseEngine
from derp_auth_lite.supabase_client import SupabaseAuthClient

from .support import PASSWORD, Request

__all__ = ["ADA", "PAGE", "bearer", "connected", "join"]

ADA = "ada@example.com"
PAGE = "https://app.test/page"


@contextlib.contextmanager
def connected(config, clock, *, email=None, kv=None, database=":memory:", timeout=20.0):
    """Yield a client of a project; its mails wait for ``deliver_mail()``."""
    client = SupabaseAuthClient(config, clock=clock, mail_worker=False, timeout=timeout)
    client.set_db(DatabaseEngine(database, clock=clock))
    client.set_kv(kv or MemoryKV(clock=clock))
    client.set_email(email)
    with client:
        yield client


def join(auth, email=ADA, **fields):
    """Sign somebody up."""
    return auth.sign_up(email=email, password=PASSWORD, **fields)


def bearer(tokens):
    """Return a request that carries an access token."""
    return Request(tokens.access_token)
