"""The store of short-lived values beside the database, against a plain table of SQLite."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3

from derp_auth_lite._clock import utc_now
from derp_auth_lite.kv.disk import DiskKV

from .interleaved import Row, medians
from .results import report

LATER = 9e12


def test_disk_kv_against_a_plain_table(tmp_path):
    numbers = itertools.count()
    kv = DiskKV(tmp_path / "kv", clock=utc_now)
    kv.connect()
    table = sqlite3.connect(tmp_path / "plain.db", isolation_level=None)
    with contextlib.closing(table):
        for statement in (
            "PRAGMA journal_mode = wal",
            "PRAGMA synchronous = 1",
            "CREATE TABLE kv (key BLOB PRIMARY KEY, value BLOB, ends REAL) WITHOUT ROWID",
            "CREATE INDEX kv_ends ON kv (ends)",  # to find what is over
        ):
            table.execute(statement)

        def get():
            now = utc_now().timestamp()
            return table.execute(
                "SELECT value FROM kv WHERE key = ? AND ends > ?", (b"a key", now)
            ).fetchall()

        def put(key=b"a key"):
            ends = utc_now().timestamp() + 900
            table.execute("INSERT OR REPLACE INTO kv VALUES (?, ?, ?)", (key, b"x" * 100, ends))

        put()
        kv.set(b"a key", b"x" * 100, ttl=900)
        cost = medians(
            {
                "get": lambda: kv.get(b"a key"),
                "plain get": get,
                "set": lambda: kv.set(b"%d" % (next(numbers) % 500), b"x" * 100, ttl=900),
                "plain set": lambda: put(b"%d" % (next(numbers) % 500)),
            },
            rounds=41,
            calls=100,
        )
    kv.disconnect()
    rows = [
        Row(f"DiskKV.{name}", cost[name], "a plain SQLite table", cost[f"plain {name}"], target)
        for name, target in (("get", 2.5), ("set", 2))
    ]
    report("The KV store in a folder", rows)
