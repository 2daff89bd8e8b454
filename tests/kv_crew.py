"""What each of eight processes does to one key-value store at the same moment."""

from __future__ import annotations

import itertools
import os
import time

from derp_auth_lite.kv import KVClient, RedisKV, open_kv

from .processes import together

KEYS = [b"single use %d" % number for number in range(300)]
COUNTS = 200


def open_store(target: str, prefix: bytes) -> KVClient:
    """Return the store at *target*, whose keys on a server begin with *prefix*."""
    return RedisKV(target, key_prefix=prefix) if "://" in target else open_kv(target)


def count(target: str, prefix: bytes) -> list[int]:
    """Add one to a shared counter, many times; return what was counted."""
    with open_store(target, prefix) as kv:
        together()
        return [kv.incr(b"shared", ttl=600) for _ in range(COUNTS)]


def claim(target: str, prefix: bytes) -> int:
    """Set each key where it is not there; return how often this process was the one."""
    with open_store(target, prefix) as kv:
        together()
        return sum(kv.set_nx(key, b"%d" % os.getpid(), ttl=600) for key in KEYS)


def spend(target: str, prefix: bytes) -> int:
    """Delete each key; return how often this process was the one."""
    with open_store(target, prefix) as kv:
        together()
        return sum(kv.delete(key) for key in KEYS)


def open_together(target: str, prefix: bytes) -> int:
    """Open a store that is not there yet and write to it."""
    kv = open_store(target, prefix)
    together()
    with kv:
        return kv.incr(b"opened")


def swap(target: str, prefix: bytes, writer: bool) -> int:
    """Store pairs of equal values, or read them; return how many pairs were not equal."""
    with open_store(target, prefix) as kv:
        together()
        end = time.monotonic() + 0.5
        torn = 0
        for number in itertools.takewhile(lambda _: time.monotonic() < end, itertools.count()):
            if writer:
                kv.mset([(b"left", b"%d" % number), (b"right", b"%d" % number)])
            else:
                left, right = kv.mget([b"left", b"right"])
                torn += left != right
        return torn


def count_until_killed(target: str, prefix: bytes) -> None:
    """Start new counters until this process is killed."""
    with open_store(target, prefix) as kv:
        for number in itertools.count():
            kv.incr(b"counter %d of %d" % (number, os.getpid()), ttl=600)
