"""What the tests of the WorkOS backend share."""

from __future__ import annotations

import contextlib
import itertools

from derp_auth_lite.kv.memory import MemoryKV
from derp_auth_lite.orm import DatabaseEngine
from derp_auth_lite.testing.service import Reply
from derp_auth_lite.workos_client import WorkOSAuthClient

__all__ = ["ADA", "PAGE", "connected", "lose_calls"]

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


def lose_calls(service, point, *, done, for_good=True):
    """Leave call number *point* without an answer, and with *for_good* each one after it.

    Nothing answers then, so that the client is as good as killed. *done*: what was asked for is
    done all the same.
    """
    numbers, real = itertools.count(1), service.handle

    def handle(call):
        number = next(numbers)
        is_lost = number == point or (for_good and number > point)
        if not is_lost:
            return real(call)
        if done:
            real(call)
        return Reply(raw=iter(()))

    service.handle = handle
    return lambda: setattr(service, "handle", real)
