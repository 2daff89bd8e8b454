"""What the tests of the WorkOS backend share."""

from __future__ import annotations

import contextlib

from derp_auth_lite.kv.memory import MemoryKV
from derp_auth_lite.orm import DatabaseEngine
from derp_auth_lite.workos_client import WorkOSAuthClient

__all__ = ["ADA", "PAGE", "connected"]

ADA = "ada@example.com"
PAGE = "https://app.test/page"


@contextlib.contextmanager
def connected(config, clock, *, email=None, kv=None, timeout=20.0):
    """Yield a client of an environment; its mails wait for ``deliver_mail()``."""
    client = WorkOSAuthClient(config, clock=clock, mail_worker=False, timeout=timeout)
    client.set_db(DatabaseEngine(":memory:", clock=clock))
    client.set_kv(kv or MemoryKV(clock=clock))
    client.set_email(email)
    with client:
        yield client
