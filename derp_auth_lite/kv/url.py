"""From a path or a URL to the store that it names."""

from __future__ import annotations

import os

from .._clock import Clock, utc_now
from ..exceptions import ConfigError
from .base import KVClient

__all__ = ["open_kv"]

_SERVERS = {"redis", "rediss", "valkey", "valkeys", "unix"}


def open_kv(target: str | os.PathLike[str] | KVClient, *, clock: Clock = utc_now) -> KVClient:
    """Return the store that *target* names; it is not connected yet.

    ``"memory:"`` is a MemoryKV; ``redis://``, ``rediss://``, ``valkey://``, ``valkeys://`` (the
    ones with *s* use TLS) and ``unix://`` (a socket) are a RedisKV; a path is the folder of a
    DiskKV; a store is itself. *clock* decides the lifetimes, except on a server.

    Raises:
        ConfigError: if the URL is of another kind, or the package for it is not installed.
    """
    if isinstance(target, KVClient):
        return target
    name = os.fspath(target)
    if name in {"memory:", ":memory:"}:
        from .memory import MemoryKV

        return MemoryKV(clock=clock)
    scheme, separator, _ = name.partition("://")
    if separator:
        if scheme.lower() not in _SERVERS:
            raise ConfigError(
                f"No KV store has URLs that begin with {scheme}://: give a folder, memory:,"
                " redis://, rediss://, valkey://, valkeys:// or unix://"
            )
        from .redis import RedisKV

        return RedisKV(name, clock=clock)
    if not name:
        raise ConfigError("The KV store needs a folder or a URL, not an empty text")
    from .disk import DiskKV

    return DiskKV(name, clock=clock)
