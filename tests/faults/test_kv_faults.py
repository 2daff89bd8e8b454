"""A KV store that is wiped, corrupted, read-only, or brought back from a copy."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from derp_auth_lite._native.one_time import Claim
from derp_auth_lite.config import ThrottleConfig
from derp_auth_lite.exceptions import AuthBackendError, AuthError, RateLimitedError
from derp_auth_lite.kv.disk import DiskKV
from derp_auth_lite.kv.memory import MemoryKV
from derp_auth_lite.kv.redis import RedisKV

from ..support import PASSWORD, MovableClock, native_client
from . import NOBODY, invariants, rounds
from .scenarios import NEW_PASSWORD

LIMITS = ThrottleConfig(
    sign_in_by_pair=(10**6, 900), sign_in_by_account=(10**6, 900), mail_by_range=(10**6, 900)
)
HOUR = timedelta(hours=1)


class Memory:
    """The store of one process; it cannot be read-only."""

    faults = ("wiped", "corrupted", "restored")

    def __init__(self, clock):
        self.kv = MemoryKV(clock=clock)

    def copy(self):
        self._copy = dict(self.kv._entries)

    def wiped(self, rng):
        self.kv._entries.clear()

    def corrupted(self, rng):
        for key, (value, end) in list(self.kv._entries.items()):
            self.kv._entries[key] = (damaged(value, rng), end)

    def restored(self, rng):
        self.kv._entries.update(self._copy)

    def heal(self):
        pass


class Disk:
    """A folder, whose files are removed, overwritten, taken away, or put back."""

    faults = ("wiped", "corrupted", "read-only", "restored", "rewritten")

    def __init__(self, clock, folder):
        self.folder = folder / "kv"
        self.kv = DiskKV(self.folder, clock=clock)

    def copy(self):
        self.kv._store.close()  # the log is then in the file
        self._copy = (self.folder / "cache.db").read_bytes()

    def wiped(self, rng):
        for path in self.folder.iterdir():
            path.unlink()

    def corrupted(self, rng):
        for name in ("cache.db", "cache.db-wal"):
            path = self.folder / name
            if path.exists():
                data = bytearray(path.read_bytes())
                for _ in range(rng.randint(1, 50)):
                    at = rng.randrange(len(data) or 1)
                    data[at : at + 64] = rng.randbytes(len(data[at : at + 64]))
                path.write_bytes(data)

    def rewritten(self, rng):
        """Somebody changes the values themselves."""
        connection = self.kv._store.connection()
        for key, value in connection.execute("SELECT key, value FROM Cache").fetchall():
            changed = damaged(bytes(value), rng)
            connection.execute("UPDATE Cache SET value = ? WHERE key = ?", (changed, key))

    def read_only(self, rng):
        self.kv._store.close()
        for path in self.folder.iterdir():
            path.chmod(0o444)
        self.folder.chmod(0o555)
        if os.geteuid() == 0:
            os.seteuid(NOBODY)  # rights bind everybody but root

    def restored(self, rng):
        self.kv._store.close()
        self.wiped(rng)
        (self.folder / "cache.db").write_bytes(self._copy)

    def heal(self):
        if os.getuid() == 0:
            os.seteuid(0)
        self.folder.chmod(0o700)
        for path in self.folder.iterdir():
            path.chmod(0o600)
            if "damaged" in path.name:
                path.unlink()


class Redis:
    """A server, on which somebody has other ideas about the same keys."""

    faults = ("wiped", "corrupted", "read-only", "restored")

    def __init__(self, clock, url):
        self._prefix = b"faults %s:" % secrets.token_hex(4).encode()
        self.kv = RedisKV(url, key_prefix=self._prefix)
        self._server = redis.Redis.from_url(url)

    def copy(self):
        self._copy = {key: self._server.get(key) for key in self._keys()}

    def wiped(self, rng):
        for key in self._keys():
            self._server.delete(key)

    def corrupted(self, rng):
        for key in self._keys():
            self._server.set(key, damaged(self._server.get(key), rng))

    def read_only(self, rng):
        """As while it is cut off from its replicas: reads pass, writes are refused."""
        self._server.config_set("min-replicas-to-write", 1)

    def restored(self, rng):
        for key, value in self._copy.items():
            self._server.set(key, value)

    def heal(self):
        self._server.config_set("min-replicas-to-write", 0)

    def close(self):
        self.wiped(None)
        self._server.close()

    def _keys(self):
        return list(self._server.scan_iter(match=self._prefix + b"*", count=1000))


def damaged(value, rng):
    """Return a value with some bytes changed, cut short, or another altogether."""
    at = rng.randrange(len(value))
    return rng.choice(
        [
            value[:at] + bytes([value[at] ^ (1 << rng.randrange(8))]) + value[at + 1 :],
            value[:at] + b"x",
            rng.randbytes(len(value)),
            b"9" * 30,
        ]
    )


@pytest.fixture(params=["memory", "disk", "redis"])
def store(request, clock):
    with contextlib.ExitStack() as stack:
        if request.param == "memory":
            made = Memory(clock)
        elif request.param == "disk":
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="derp-kv-"))
            Path(name).chmod(0o755)
            made = Disk(clock, Path(name))
        else:
            made = Redis(clock, request.getfixturevalue("redis_url"))
            stack.callback(made.close)
        stack.callback(made.heal)
        yield made


class Round:
    """One user with two recovery links, of which one is spent before the store breaks."""

    def __init__(self, auth, number):
        self.auth = auth
        self.was_down = False
        self.user = auth.create_user(
            email=f"user{number}@example.com", password=PASSWORD, confirmed=True
        )
        self.other = auth.create_user(email=f"other{number}@example.com", password=PASSWORD)
        self.spent, self.unspent = self._link(self.user), self._link(self.other)

    def _link(self, user):
        record = self.auth._accounts.by_id(user.id)
        claim = Claim(
            purpose="recovery", email=user.email, user_id=user.id, stamp=record.token_stamp
        )
        return self.auth._one_time.issue(claim, HOUR)

    def wrong(self):
        """Return what should not be possible and is, with the store as it is."""
        attempts = {
            "a spent link worked again": lambda: self._reset(self.spent, "thief's own password"),
            "an invented link worked": lambda: self._reset(secrets.token_urlsafe(32), "x" * 20),
            "a wrong password worked": lambda: self.enter("a wrong password"),
        }
        answers = {name: attempt() for name, attempt in attempts.items()}
        self.was_down |= "down" in answers.values()
        return [name for name, answer in answers.items() if answer == "yes"]

    def spend(self):
        return self._reset(self.spent, NEW_PASSWORD)

    def enter(self, password=NEW_PASSWORD):
        return self._try(self.auth.sign_in_with_password, self.user.email, password)

    def spend_other(self):
        """Spend the link that was not yet; return how often that works (more than once is bad)."""
        tries = [self._reset(self.unspent, f"new password {turn}") for turn in range(2)]
        return tries.count("yes")

    def _reset(self, token, password):
        return self._try(self.auth.reset_password, token, password)

    def _try(self, call, *arguments):
        try:
            call(*arguments)
        except AuthBackendError:
            return "down"
        except RateLimitedError:
            return "limited"
        except AuthError:
            return "no"
        return "yes"


def test_whatever_happens_to_the_store_nothing_is_spent_twice_and_nobody_gets_in(
    store, clock, request, report
):
    count, rng = rounds(20, 1000), random.Random(1)
    name = request.node.callspec.params["store"]
    felt: dict[str, int] = dict.fromkeys(store.faults, 0)
    wrong, worst = [], 0.0
    with native_client(":memory:", MovableClock(), kv=store.kv, throttle=LIMITS) as auth:
        for number in range(count):
            fault = store.faults[number % len(store.faults)]
            this = Round(auth, number)
            store.copy()
            assert this.spend() == "yes"
            getattr(store, fault.replace("-", "_"))(rng)
            began = time.perf_counter()
            found = this.wrong()
            worked = this.spend_other()
            worst = max(worst, (time.perf_counter() - began) / 5)
            store.heal()
            felt[fault] += worked == 0 or this.was_down
            found += this.wrong()
            if worked + this.spend_other() > 1:
                found.append("a link worked twice")
            store.wiped(rng)  # a count that became a large number ends, but not at once
            if this.enter() != "yes":
                found.append("the owner does not get in afterwards")
            wrong += [f"round {number}, {fault}: {each}" for each in found]
        for user in auth.list_users():
            if user.email.startswith("other"):
                assert len(auth.list_sessions(user_id=user.id)) == 0
        invariants.check(auth)
    report(f"KV store {', '.join(store.faults)}", name, count, worst, wrong)
    assert all(felt[fault] for fault in {"wiped", "read-only"} & felt.keys()), felt
