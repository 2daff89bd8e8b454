"""Sign-ins that are refused take the same time, whoever they are for: 200 rounds in turns."""

from __future__ import annotations

import gc
import statistics
import time

import pytest

from derp_auth_lite.config import PasswordConfig, ThrottleConfig
from derp_auth_lite.exceptions import InvalidCredentialsError
from derp_auth_lite.kv.disk import DiskKV

from ..support import PASSWORD, MovableClock, native_client
from .interleaved import Row, table

ROUNDS = 200
KINDS = ["known", "unknown", "passwordless", "disabled"]


def test_nothing_tells_known_unknown_passwordless_and_disabled_accounts_apart(database, tmp_path):
    """OWASP ASVS 5.0, 6.3.8: the medians are within 5 %; limits are on, as by default."""
    clock = MovableClock()
    kv = DiskKV(tmp_path / "kv", clock=clock)
    password = PasswordConfig(hash_profile="owasp_minimum")
    with native_client(
        database, clock, kv=kv, password=password, throttle=ThrottleConfig()
    ) as auth:
        auth.create_user(email="known@example.com", password=PASSWORD)
        auth.create_user(email="passwordless@example.com")
        disabled = auth.create_user(email="disabled@example.com", password=PASSWORD)
        auth.update_user(user_id=disabled.id, is_active=False)
        spans = {kind: [] for kind in KINDS}
        gc.collect()
        for number in range(ROUNDS):
            # On, so that no limit strikes; each kind comes first as often as the others.
            clock.advance(hours=2)
            first = number % len(KINDS)
            for kind in KINDS[first:] + KINDS[:first]:
                begun = time.perf_counter()
                with pytest.raises(InvalidCredentialsError):
                    auth.sign_in_with_password(f"{kind}@example.com", "a wrong password")
                spans[kind].append((time.perf_counter() - begun) * 1e6)
    middle = {kind: statistics.median(taken) for kind, taken in spans.items()}
    rows = [Row(f"sign-in: {kind}", middle[kind], "known", middle["known"]) for kind in KINDS[1:]]
    print("\n" + table(rows))
    assert all(abs(row.ratio - 1) < 0.05 for row in rows)
