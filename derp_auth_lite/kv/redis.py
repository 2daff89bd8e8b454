"""A store on a Redis or Valkey server, shared by many machines."""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from .._clock import Clock
from ..exceptions import AuthBackendError, AuthNotConnectedError, ConfigError
from ._values import check_bytes, check_ttl
from .base import KVClient

__all__ = ["RedisKV"]

# Run as one step by the server: no crash of a client leaves a counter without its lifetime. The
# count is read back as text, since Lua's numbers are exact to 53 bits only.
_INCR = """
if redis.call('EXISTS', KEYS[1]) == 1 or ARGV[1] == '' then
    redis.call('INCR', KEYS[1])
    return redis.call('GET', KEYS[1])
end
if ARGV[1] ~= '0' then
    redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
end
return '1'
"""
_INCR_NAME = hashlib.sha1(_INCR.encode()).hexdigest()  # noqa: S324  # the protocol's own name for it
_NOT_A_COUNTER = ("not an integer", "would overflow", "WRONGTYPE")
_GLOB = re.compile(rb"[\\*?\[\]]")
_LONGEST_MS = 10**15  # 30,000 years; a server refuses what overflows its clock
_PAGE = 500

Result = TypeVar("Result")


class RedisKV(KVClient):
    """A store on the Redis (6 or later) or Valkey server at *url*.

    The server's clock decides lifetimes, to the millisecond; *clock* is taken so that stores can be
    exchanged, and does not move a server.

    A connection that was cut while idle is made anew before anything is sent on it. A command that
    broke under way is sent once more if doing it twice is doing it once. ``incr``, ``set_nx`` and
    deletions are not: their caller gets the error, never a second count or a wrong winner.

    Args:
        url: ``redis://``, ``rediss://`` (TLS), ``valkey://``, ``valkeys://`` (TLS) or ``unix://``.
        clock: Not used.
        key_prefix: Put before every key, so that programs can share a server.
        connect_timeout: Seconds to wait for a connection.
        timeout: Seconds to wait for an answer.

    Raises:
        ConfigError: if the URL cannot be read, or the package ``redis`` is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock | None = None,  # noqa: ARG002  (the server has its own)
        key_prefix: bytes = b"",
        connect_timeout: float = 2.0,
        timeout: float = 5.0,
    ) -> None:
        check_bytes(key_prefix)
        self._prefix = key_prefix
        self._client = _client(url, connect_timeout, timeout)
        self._shown = _without_secrets(url)
        self._connected = False

    def __repr__(self) -> str:
        return f"RedisKV({self._shown!r})"

    def connect(self) -> None:
        """Reach the server, so that a wrong address or password is found at the start."""
        if self._connected:
            return
        self._connected = True
        try:
            self._again(lambda redis: redis.ping())
        except BaseException:
            self._connected = False
            raise

    def disconnect(self) -> None:
        """Close the connections."""
        self._connected = False
        self._client.connection_pool.disconnect()

    def get(self, key: bytes) -> bytes | None:
        """Return the value of *key*, or ``None``."""
        name = self._name(key)
        value: bytes | None = self._again(lambda redis: redis.get(name))
        return value

    def set(self, key: bytes, value: bytes, *, ttl: float | None = None) -> None:
        """Store *value* under *key*."""
        self.mset([(key, value)], ttl=ttl)

    def delete(self, key: bytes) -> bool:
        """Remove *key*. Of many callers at once, on all machines, one is told ``True``."""
        return self.delete_many([key]) == 1

    def exists(self, key: bytes) -> bool:
        """Tell whether *key* is there."""
        name = self._name(key)
        return bool(self._again(lambda redis: redis.exists(name)))

    def mget(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of *keys*, in their order, all as of one moment."""
        names = [self._name(key) for key in keys]
        values: list[bytes | None] = self._again(lambda redis: redis.mget(names)) if names else []
        return values

    def mset(self, items: Sequence[tuple[bytes, bytes]], *, ttl: float | None = None) -> None:
        """Store all *items*, or none of them, in one transaction of the server's."""
        check_bytes(*(value for _, value in items))
        named = [(self._name(key), value) for key, value in items]
        lifetime = _milliseconds(ttl)
        if lifetime == 0:
            self._again(lambda redis: [redis.delete(name) for name, _ in named])
        elif len(named) == 1:
            self._again(lambda redis: redis.set(*named[0], px=lifetime))
        elif named:
            self._again(lambda redis: _set_all(redis, named, lifetime))

    def delete_many(self, keys: Sequence[bytes]) -> int:
        """Remove *keys*; return how many were there."""
        names = [self._name(key) for key in keys]
        return int(self._once(lambda redis: redis.delete(*names))) if names else 0

    def ttl(self, key: bytes) -> float | None:
        """Return the seconds that *key* has left."""
        name = self._name(key)
        left = self._again(lambda redis: redis.pttl(name))
        return left / 1000 if left >= 0 else None  # -1: no end; -2: not there

    def expire(self, key: bytes, ttl: float) -> bool:
        """Give *key* a lifetime from now on."""
        name = self._name(key)
        lifetime = _milliseconds(ttl)
        return bool(self._again(lambda redis: redis.pexpire(name, lifetime)))

    def set_nx(self, key: bytes, value: bytes, *, ttl: float | None = None) -> bool:
        """Store *value* only where *key* is not there; on all machines one is told ``True``."""
        check_bytes(value)
        name = self._name(key)
        lifetime = _milliseconds(ttl)
        if lifetime == 0:
            return not self.exists(key)
        return bool(self._once(lambda redis: redis.set(name, value, px=lifetime, nx=True)))

    def incr(self, key: bytes, *, ttl: float | None = None) -> int:
        """Add one to the counter *key* and return it; a new one gets *ttl* in the same step."""
        name = self._name(key)
        lifetime = _milliseconds(ttl)
        return int(self._once(lambda redis: _incr(redis, name, lifetime)))

    def scan(self, *, prefix: bytes | None = None, limit: int | None = None) -> Iterator[bytes]:
        """Iterate over the keys that begin with *prefix*, each once."""
        keys = self._scan(self._name(b"" if prefix is None else prefix))
        return itertools.islice(keys, None if limit is None else max(0, limit))

    def _scan(self, start: bytes) -> Iterator[bytes]:
        pattern = _GLOB.sub(rb"\\\g<0>", start) + b"*"
        seen: set[bytes] = set()
        cursor = 0
        while True:
            cursor, names = self._again(
                functools.partial(_scan_page, pattern=pattern, cursor=cursor)
            )
            for name in names:
                if name not in seen:
                    seen.add(name)
                    yield name[len(self._prefix) :]
            if cursor == 0:
                return

    def _name(self, key: bytes) -> bytes:
        check_bytes(key)
        return self._prefix + key

    def _again(self, work: Callable[[Any], Result]) -> Result:
        """Run *work*, which may be done twice, and do so if the connection breaks under way."""
        from redis.exceptions import ConnectionError as Broken

        try:
            return self._once(work)
        except AuthBackendError as error:
            if not isinstance(error.__cause__, Broken):
                raise
        return self._once(work)

    def _once(self, work: Callable[[Any], Result]) -> Result:
        from redis.exceptions import RedisError

        if not self._connected:
            raise AuthNotConnectedError("The KV store is not connected: call connect()")
        try:
            return work(self._client)
        except (RedisError, OSError) as error:
            # The text of an error may hold keys and values: it is left to the chained cause.
            kind = type(error).__name__
            raise AuthBackendError(f"The KV server {self._shown} cannot be used: {kind}") from error


def _client(url: str, connect_timeout: float, timeout: float) -> Any:
    try:
        import redis  # an extra
        from redis import connection
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise ConfigError(
            'A Redis or Valkey server needs the package redis: pip install "derp_auth_lite[redis]"'
        ) from error
    scheme, separator, rest = url.partition("://")
    parse_url: Any = connection.parse_url  # not typed
    options: dict[str, Any] = {"socket_connect_timeout": connect_timeout, "socket_timeout": timeout}
    try:
        options |= parse_url(scheme.lower().replace("valkey", "redis") + separator + rest)
        # Its own retries would repeat a count.
        options |= {"decode_responses": False, "protocol": 2, "retry": Retry(NoBackoff(), 0)}
        options |= {"retry_on_timeout": False, "retry_on_error": []}
        pool = redis.ConnectionPool(**options)
        pool.make_connection()  # connects to nothing, and refuses an unknown option now
    except (TypeError, ValueError, redis.RedisError):
        # The text of the error may hold a part of the password.
        raise ConfigError("The URL of the KV server cannot be read") from None
    return redis.Redis(connection_pool=pool)


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    _, at, host = parts.netloc.rpartition("@")
    return f"{parts.scheme}://{'***' + at if at else ''}{host}{parts.path}"


def _milliseconds(ttl: float | None) -> int | None:
    """Return a lifetime as the server wants it; 0 is gone at once."""
    check_ttl(ttl)
    return None if ttl is None else min(max(0, math.ceil(ttl * 1000)), _LONGEST_MS)


def _set_all(redis: Any, items: Sequence[tuple[bytes, bytes]], lifetime: int | None) -> None:
    with redis.pipeline(transaction=True) as transaction:
        for name, value in items:
            transaction.set(name, value, px=lifetime)
        transaction.execute()


def _scan_page(redis: Any, pattern: bytes, cursor: int) -> tuple[int, list[bytes]]:
    page: tuple[int, list[bytes]] = redis.scan(cursor, match=pattern, count=_PAGE)
    return page


def _incr(redis: Any, name: bytes, lifetime: int | None) -> Any:
    from redis.exceptions import NoScriptError, ResponseError

    argument = b"" if lifetime is None else lifetime
    try:
        try:
            return redis.evalsha(_INCR_NAME, 1, name, argument)
        except NoScriptError:  # a server that was restarted or flushed; nothing has run yet
            return redis.eval(_INCR, 1, name, argument)
    except ResponseError as error:
        if any(reason in str(error) for reason in _NOT_A_COUNTER):
            raise ValueError("the value is not a counter") from None
        raise
