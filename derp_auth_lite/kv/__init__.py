"""Key-value stores for what may be lost: pending links, counters of attempts, OAuth state.

:func:`~.url.open_kv` makes one from a path or a URL: :class:`~.memory.MemoryKV` lives as long as
its process, :class:`~.disk.DiskKV` is shared by the processes of one machine, and
:class:`~.redis.RedisKV` by many machines. Nothing in a store is trusted alone: wiped, or restored
from a backup, it loses a pending link and never lets one be spent twice.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import KVClient, RateLimitResult
    from .disk import DiskKV
    from .memory import MemoryKV
    from .redis import RedisKV
    from .url import open_kv

__all__ = ["DiskKV", "KVClient", "MemoryKV", "RateLimitResult", "RedisKV", "open_kv"]

_HOMES = {
    "DiskKV": "disk",
    "KVClient": "base",
    "MemoryKV": "memory",
    "RateLimitResult": "base",
    "RedisKV": "redis",
    "open_kv": "url",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that unused stores cost nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
