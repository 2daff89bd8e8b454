"""How long asking for a mail takes while the mail server hangs, for known and unknown addresses."""

from __future__ import annotations

import gc
import statistics
import time

from derp_auth_lite.config import ThrottleConfig
from derp_auth_lite.email import EmailClient
from derp_auth_lite.kv.disk import DiskKV

from ..servers.smtp_server import SmtpServer
from ..support import PASSWORD, MovableClock, native_client
from .interleaved import Row, table

ASKED = 200
LIMIT = 20_000  # µs
PAGE = "https://notes.example.com/reset"


def test_a_hanging_mail_server_delays_nobody_and_tells_nothing(database, tmp_path):
    """The limits are on, and the KV store is a folder, as with ``open_auth("app.db")``."""
    clock = MovableClock()
    with SmtpServer() as server:
        server.hang("connect")
        email = EmailClient(server.config(), transport=server.transport(), clock=clock)
        kv = DiskKV(tmp_path / "kv", clock=clock)
        limits = ThrottleConfig()
        auth = native_client(database, clock, kv=kv, email=email, mail_worker=True, throttle=limits)
        with auth:
            for number in range(ASKED):
                auth.create_user(email=f"known{number}@example.com", password=PASSWORD)
            spans = _ask_in_turns(auth, clock)
            server.stop()
            server.heal()
            server.start()
            clock.advance(minutes=4)
            assert auth.deliver_mail() > 0
            auth.set_email(None)
    known, unknown = (statistics.median(span) for span in spans)
    row = Row("asked for a known address", known, "for an unknown one", unknown)
    print("\n" + table([row]))
    assert max(known, unknown) < LIMIT
    assert abs(row.ratio - 1) < 0.2


def _ask_in_turns(auth, clock):
    spans = {"known": [], "unknown": []}
    gc.collect()
    for number in range(ASKED):
        # A minute on, so that no limit for an address range strikes.
        clock.advance(minutes=1)
        for kind in list(spans)[:: 1 if number % 2 else -1]:
            begun = time.perf_counter()
            auth.request_password_recovery(email=f"{kind}{number}@example.com", recovery_url=PAGE)
            spans[kind].append((time.perf_counter() - begun) * 1e6)
    return spans["known"], spans["unknown"]
