from __future__ import annotations

import multiprocessing
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from derp_auth_lite import kv as package
from derp_auth_lite._clock import utc_now
from derp_auth_lite.exceptions import AuthNotConnectedError, ConfigError
from derp_auth_lite.kv import DiskKV, KVClient, MemoryKV, RedisKV, open_kv

from . import kv_crew
from .processes import EIGHT
from .servers.redis_server import found_servers, running_redis
from .support import MovableClock

LONG = 600.0
FORKS_WITH_THREADS = "ignore:This process .* is multi-threaded:DeprecationWarning"


class KVContract:
    """What every store does. A store's class adds ``kv``, ``short`` and ``outlive``."""

    short: float
    """A lifetime that is soon over, in seconds."""

    @pytest.fixture
    def outlive(self) -> Callable[[], None]:
        """Let a short lifetime go by."""
        raise NotImplementedError

    def test_get_returns_what_was_set(self, kv):
        kv.set(b"key", b"value")
        assert kv.get(b"key") == b"value"

    def test_a_key_that_was_never_set_is_not_there(self, kv):
        assert kv.get(b"key") is None
        assert not kv.exists(b"key")
        assert kv.ttl(b"key") is None

    def test_exists_tells_what_is_there(self, kv):
        kv.set(b"key", b"")
        assert kv.exists(b"key") is True

    def test_set_replaces_value_and_lifetime(self, kv):
        kv.set(b"key", b"old", ttl=LONG)
        kv.set(b"key", b"new")
        assert kv.get(b"key") == b"new"
        assert kv.ttl(b"key") is None

    def test_delete_tells_whether_the_key_was_there(self, kv):
        kv.set(b"key", b"value")
        assert kv.delete(b"key") is True
        assert kv.delete(b"key") is False
        assert kv.get(b"key") is None

    @pytest.mark.parametrize("key", [b"", b"\0", b"a\0b", b"\xff" * 40, bytes(range(256))])
    @pytest.mark.parametrize("value", [b"", b"\0", bytes(range(256))])
    def test_any_bytes_are_a_key_and_a_value(self, kv, key, value):
        kv.set(key, value)
        assert kv.get(key) == value
        assert list(kv.scan()) == [key]
        assert kv.delete(key)

    def test_a_value_may_hold_a_megabyte(self, kv):
        value = secrets.token_bytes(1_000_000)
        kv.set(b"key", value)
        assert kv.get(b"key") == value

    @pytest.mark.parametrize("wrong", ["text", None, 7, bytearray(b"key"), memoryview(b"key")])
    def test_keys_that_are_not_bytes_are_a_type_error(self, kv, wrong):
        calls: list[Callable[[], Any]] = [
            lambda: kv.get(wrong),
            lambda: kv.set(wrong, b""),
            lambda: kv.delete(wrong),
            lambda: kv.exists(wrong),
            lambda: kv.mget([b"key", wrong]),
            lambda: kv.mset([(b"key", b""), (wrong, b"")]),
            lambda: kv.delete_many([b"key", wrong]),
            lambda: kv.ttl(wrong),
            lambda: kv.expire(wrong, 1),
            lambda: kv.set_nx(wrong, b""),
            lambda: kv.incr(wrong),
        ]
        for call in calls:
            with pytest.raises(TypeError, match="bytes"):
                call()
        assert list(kv.scan()) == []

    def test_values_and_prefixes_that_are_not_bytes_are_a_type_error(self, kv):
        calls: list[Callable[[], Any]] = [
            lambda: kv.set(b"key", "text"),
            lambda: kv.set_nx(b"key", None),
            lambda: kv.mset([(b"key", b""), (b"other", "text")]),
            lambda: kv.scan(prefix="text"),
        ]
        for call in calls:
            with pytest.raises(TypeError, match="bytes"):
                call()
        assert list(kv.scan()) == []

    @pytest.mark.parametrize("ttl", [float("nan"), float("inf"), float("-inf")])
    def test_a_lifetime_that_is_no_number_of_seconds_is_a_value_error(self, kv, ttl):
        kv.set(b"key", b"value")
        calls: list[Callable[[], Any]] = [
            lambda: kv.set(b"key", b"", ttl=ttl),
            lambda: kv.mset([(b"key", b"")], ttl=ttl),
            lambda: kv.set_nx(b"other", b"", ttl=ttl),
            lambda: kv.incr(b"other", ttl=ttl),
            lambda: kv.expire(b"key", ttl),
        ]
        for call in calls:
            with pytest.raises(ValueError, match="lifetime"):
                call()
        assert kv.get(b"key") == b"value"

    def test_mget_returns_values_in_the_order_of_the_keys(self, kv):
        kv.mset([(b"a", b"1"), (b"b", b"2")])
        assert kv.mget([b"b", b"none", b"a", b"b"]) == [b"2", None, b"1", b"2"]
        assert kv.mget([]) == []

    def test_mset_gives_all_the_same_lifetime_and_the_last_of_two_values(self, kv):
        kv.mset([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")], ttl=LONG)
        kv.mset([])
        assert kv.mget([b"a", b"b"]) == [b"3", b"2"]
        for key in (b"a", b"b"):
            assert LONG - 10 < kv.ttl(key) <= LONG

    def test_delete_many_counts_each_key_that_was_there_once(self, kv):
        kv.mset([(b"a", b"1"), (b"b", b"2"), (b"c", b"3")])
        assert kv.delete_many([b"a", b"b", b"a", b"none"]) == 2
        assert kv.delete_many([]) == 0
        assert list(kv.scan()) == [b"c"]

    def test_ttl_is_what_is_left(self, kv):
        kv.set(b"key", b"value", ttl=LONG)
        assert LONG - 10 < kv.ttl(b"key") <= LONG

    def test_a_key_is_gone_when_its_lifetime_is_over(self, kv, outlive):
        kv.set(b"set", b"value", ttl=self.short)
        kv.mset([(b"one of many", b"value")], ttl=self.short)
        kv.set_nx(b"new", b"value", ttl=self.short)
        kv.set(b"shortened", b"value", ttl=LONG)
        kv.expire(b"shortened", self.short)
        kv.set(b"for ever", b"value")
        outlive()
        gone = [b"set", b"one of many", b"new", b"shortened"]
        assert kv.mget(gone) == [None] * 4
        for key in gone:
            assert kv.get(key) is None
            assert not kv.exists(key)
            assert kv.ttl(key) is None
            assert kv.expire(key, LONG) is False
            assert kv.delete(key) is False
        assert kv.delete_many(gone) == 0
        assert list(kv.scan()) == [b"for ever"]

    def test_a_key_whose_lifetime_is_over_is_as_free_as_a_new_one(self, kv, outlive):
        kv.set(b"claimed", b"old", ttl=self.short)
        kv.incr(b"counter", ttl=self.short)
        kv.set(b"set", b"old", ttl=self.short)
        outlive()
        assert kv.set_nx(b"claimed", b"new") is True
        assert kv.incr(b"counter", ttl=LONG) == 1
        kv.set(b"set", b"new")
        assert kv.mget([b"claimed", b"counter", b"set"]) == [b"new", b"1", b"new"]
        assert kv.ttl(b"claimed") is None
        assert LONG - 10 < kv.ttl(b"counter") <= LONG
        assert kv.ttl(b"set") is None

    @pytest.mark.parametrize("ttl", [0, -0.5, -1e12])
    def test_a_lifetime_of_nothing_or_less_is_over_at_once(self, kv, ttl):
        kv.mset([(b"set", b"old"), (b"many", b"old"), (b"expired", b"old"), (b"held", b"old")])
        kv.set(b"set", b"new", ttl=ttl)
        kv.mset([(b"many", b"new"), (b"more", b"new")], ttl=ttl)
        assert kv.expire(b"expired", ttl) is True
        assert kv.set_nx(b"free", b"new", ttl=ttl) is True
        assert kv.set_nx(b"held", b"new", ttl=ttl) is False
        assert kv.incr(b"counter", ttl=ttl) == 1
        assert kv.incr(b"counter", ttl=ttl) == 1
        assert list(kv.scan()) == [b"held"]
        assert kv.get(b"held") == b"old"

    def test_a_lifetime_may_be_shorter_than_a_millisecond_or_longer_than_a_life(self, kv):
        kv.set(b"short", b"value", ttl=1e-9)
        kv.set(b"long", b"value", ttl=1e11)
        kv.set(b"longest", b"value", ttl=1e300)
        assert kv.ttl(b"long") == pytest.approx(1e11)
        assert kv.ttl(b"longest") > 1e11
        assert kv.get(b"longest") == b"value"

    def test_expire_replaces_a_lifetime_and_keeps_the_value(self, kv, outlive):
        kv.set(b"key", b"value", ttl=self.short)
        assert kv.expire(b"key", LONG) is True
        outlive()
        assert kv.get(b"key") == b"value"
        assert kv.expire(b"none", LONG) is False

    def test_set_nx_leaves_what_is_there(self, kv):
        assert kv.set_nx(b"key", b"first", ttl=LONG) is True
        assert kv.set_nx(b"key", b"second") is False
        assert kv.get(b"key") == b"first"
        assert LONG - 10 < kv.ttl(b"key") <= LONG

    def test_incr_counts_from_one_and_keeps_the_first_lifetime(self, kv):
        assert [kv.incr(b"key", ttl=LONG), kv.incr(b"key", ttl=1), kv.incr(b"key")] == [1, 2, 3]
        assert LONG - 10 < kv.ttl(b"key") <= LONG
        assert kv.get(b"key") == b"3"

    def test_incr_without_a_lifetime_counts_for_ever(self, kv):
        assert kv.incr(b"key") == 1
        assert kv.incr(b"key", ttl=LONG) == 2
        assert kv.ttl(b"key") is None

    def test_incr_keeps_the_lifetime_of_a_counter_that_was_set(self, kv):
        kv.mset([(b"zero", b"0"), (b"negative", b"-3")], ttl=LONG)
        assert kv.incr(b"zero", ttl=1) == 1
        assert kv.incr(b"negative", ttl=1) == -2
        assert LONG - 10 < kv.ttl(b"zero") <= LONG

    def test_incr_is_exact_up_to_64_bits(self, kv):
        kv.set(b"key", b"%d" % (2**63 - 3))
        assert kv.incr(b"key") == 2**63 - 2
        assert kv.incr(b"key") == 2**63 - 1
        with pytest.raises(ValueError, match="counter"):
            kv.incr(b"key")
        assert kv.get(b"key") == b"%d" % (2**63 - 1)

    @pytest.mark.parametrize(
        "value", [b"", b"x", b"1.5", b" 1", b"1 ", b"+1", b"01", b"-0", b"1\n", b"\xd9\xa1"]
    )
    def test_incr_of_what_is_no_counter_is_a_value_error_and_changes_nothing(self, kv, value):
        kv.set(b"key", value, ttl=LONG)
        with pytest.raises(ValueError, match="counter"):
            kv.incr(b"key", ttl=1)
        assert kv.get(b"key") == value
        assert kv.ttl(b"key") > LONG - 10

    def test_scan_finds_the_keys_that_begin_with_the_prefix(self, kv):
        keys = [b"a", b"ab", b"ab\0", b"ab\xff", b"ac", b"b", b"\xff\xff", b"\xff\xffx"]
        kv.mset([(key, b"") for key in keys])
        assert sorted(kv.scan()) == sorted(keys)
        assert sorted(kv.scan(prefix=b"")) == sorted(keys)
        assert sorted(kv.scan(prefix=b"ab")) == [b"ab", b"ab\0", b"ab\xff"]
        assert sorted(kv.scan(prefix=b"\xff\xff")) == [b"\xff\xff", b"\xff\xffx"]
        assert list(kv.scan(prefix=b"abc")) == []

    @pytest.mark.parametrize("special", [b"*", b"?", b"[ab]", b"[^a]", b"\\", b"a\\*", b"[", b"]"])
    def test_a_prefix_is_no_pattern(self, kv, special):
        kv.mset([(special + b"1", b""), (b"abcdef", b""), (b"a\\", b""), (b"zz", b"")])
        assert list(kv.scan(prefix=special)) == [special + b"1"]

    def test_scan_gives_at_most_the_limit(self, kv):
        kv.mset([(b"%d" % number, b"") for number in range(10)])
        assert len(set(kv.scan(limit=3))) == 3
        assert len(set(kv.scan(limit=100))) == 10
        assert list(kv.scan(limit=0)) == []
        assert list(kv.scan(limit=-1)) == []

    def test_a_scan_meets_each_key_that_stays_once_while_others_change(self, kv):
        stay = {b"stay %d" % number for number in range(1200)}
        kv.mset([(key, b"") for key in stay] + [(b"go %d" % n, b"") for n in range(300)])
        found = []
        for number, key in enumerate(kv.scan()):
            found.append(key)
            if number % 4 == 0:
                kv.set(b"new %d" % number, b"")
                kv.delete(b"go %d" % (number // 4))
        assert len(found) == len(set(found))
        assert stay <= set(found)

    def test_rate_limit_allows_so_many_uses_of_a_window(self, kv, outlive):
        results = [kv.rate_limit("sign-in", limit=2, window=LONG) for _ in range(3)]
        assert [result.allowed for result in results] == [True, True, False]
        assert [result.remaining for result in results] == [1, 0, 0]
        assert results[1].retry_after is None
        assert LONG - 10 < results[2].retry_after <= LONG
        assert kv.rate_limit("another", limit=2, window=LONG).allowed

    def test_rate_limit_begins_again_with_the_next_window(self, kv, outlive):
        for _ in range(3):
            kv.rate_limit("sign-in", limit=1, window=self.short)
        outlive()
        assert kv.rate_limit("sign-in", limit=1, window=self.short).allowed

    def test_purge_takes_nothing_that_is_alive(self, kv, outlive):
        kv.set(b"for ever", b"value")
        kv.set(b"long", b"value", ttl=LONG)
        kv.set(b"short", b"value", ttl=self.short)
        outlive()
        kv.purge()
        assert sorted(kv.scan()) == [b"for ever", b"long"]

    def test_opening_an_open_store_and_closing_a_closed_one_do_nothing(self, kv):
        kv.set(b"key", b"value")
        kv.connect()
        kv.disconnect()
        kv.disconnect()
        kv.connect()
        assert kv.get(b"key") == b"value"

    def test_threads_count_exactly_and_one_of_them_wins(self, kv):
        start = threading.Barrier(8)

        def work(number: int) -> tuple[list[int], int]:
            start.wait(30)
            counts = [kv.incr(b"counter", ttl=LONG) for _ in range(50)]
            return counts, sum(kv.set_nx(b"%d" % n, b"%d" % number) for n in range(50))

        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(work, range(8)))
        assert sorted(n for counts, _ in results for n in counts) == list(range(1, 401))
        assert sum(wins for _, wins in results) == 50


class MovableContract(KVContract):
    """A store whose lifetimes go by the client's clock, which these tests move."""

    short = 10.0

    @pytest.fixture
    def outlive(self, clock: MovableClock) -> Callable[[], None]:
        return lambda: clock.advance(seconds=self.short)

    def test_a_lifetime_ends_at_its_last_instant(self, kv, clock):
        kv.set(b"key", b"value", ttl=10)
        clock.advance(seconds=9.999999)
        assert kv.get(b"key") == b"value"
        assert kv.ttl(b"key") == pytest.approx(0.000001, abs=1e-6)
        clock.advance(seconds=0.000001)
        assert kv.get(b"key") is None

    def test_what_was_gone_at_once_stays_gone_when_the_clock_goes_back(self, kv, clock):
        kv.set(b"key", b"value", ttl=-5)
        clock.advance(days=-1)
        assert kv.get(b"key") is None

    def test_purge_removes_what_has_outlived_its_time_and_counts_it(self, kv, clock):
        kv.mset([(b"short %d" % number, b"") for number in range(1200)], ttl=10)
        kv.set(b"for ever", b"")
        assert kv.purge() == 0
        clock.advance(seconds=10)
        assert kv.purge() == 1200
        assert kv.purge() == 0
        assert list(kv.scan()) == [b"for ever"]


class ProcessContract(KVContract):
    """A store that processes share. A store's class adds ``place``: its target and key prefix."""

    def test_eight_processes_count_exactly_and_the_counter_keeps_its_lifetime(
        self, kv, place, crew
    ):
        counts = crew.run(kv_crew.count, [place] * EIGHT)
        total = EIGHT * kv_crew.COUNTS
        assert sorted(n for each in counts for n in each) == list(range(1, total + 1))
        assert kv.get(b"shared") == b"%d" % total
        assert kv.ttl(b"shared") == pytest.approx(LONG, abs=120)

    def test_of_eight_processes_one_sets_and_one_deletes_each_key(self, kv, place, crew):
        assert sum(crew.run(kv_crew.claim, [place] * EIGHT)) == len(kv_crew.KEYS)
        assert kv.mget(kv_crew.KEYS).count(None) == 0
        assert sum(crew.run(kv_crew.spend, [place] * EIGHT)) == len(kv_crew.KEYS)
        assert list(kv.scan()) == []

    def test_readers_see_all_of_an_mset_or_nothing(self, kv, place, crew):
        kv.mset([(b"left", b""), (b"right", b"")])
        work = [(*place, number < 2) for number in range(EIGHT)]
        assert sum(crew.run(kv_crew.swap, work)) == 0

    def test_a_process_killed_while_counting_leaves_no_counter_without_a_lifetime(self, kv, place):
        context = multiprocessing.get_context("spawn")
        for pause in (0.0, 0.003, 0.011, 0.02):
            process = context.Process(target=kv_crew.count_until_killed, args=place)
            before = len(list(kv.scan()))
            process.start()
            while len(list(kv.scan())) < before + 3:
                time.sleep(0.001)
            time.sleep(pause)
            process.kill()
            process.join()
            assert process.exitcode == -signal.SIGKILL
        assert all(kv.ttl(key) is not None for key in kv.scan())
        assert kv.incr(b"still open", ttl=LONG) == 1


class TestMemoryKV(MovableContract):
    @pytest.fixture
    def kv(self, clock: MovableClock) -> KVClient:
        return MemoryKV(clock=clock)

    def test_memory_is_bounded_by_what_is_alive(self, kv, clock):
        for number in range(5000):
            kv.set(b"%d" % number, b"", ttl=10)
            clock.advance(seconds=0.1)
        assert len(kv._entries) < 250

    @pytest.mark.filterwarnings(FORKS_WITH_THREADS)
    def test_a_fork_while_threads_write_leaves_parent_and_child_no_held_lock(self, kv):
        stop = threading.Event()
        threads = [
            threading.Thread(target=lambda: [kv.incr(b"counter") for _ in iter(stop.is_set, True)])
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in range(10):
                pid = os.fork()
                if pid == 0:
                    os._exit(0 if kv.incr(b"child") == 1 else 1)
                assert os.waitpid(pid, 0)[1] == 0
                assert not kv.exists(b"child")
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def test_it_shows_nothing_of_what_it_holds(self, kv):
        kv.set(b"key", b"value")
        assert repr(kv) == "MemoryKV()"


class TestDiskKV(MovableContract, ProcessContract):
    @pytest.fixture
    def place(self, tmp_path) -> tuple[str, bytes]:
        return str(tmp_path / "store"), b""

    @pytest.fixture
    def kv(self, place: tuple[str, bytes], clock: MovableClock) -> Iterator[KVClient]:
        clock.now = utc_now()  # which the other processes go by
        with DiskKV(place[0], clock=clock) as kv:
            yield kv

    def test_eight_processes_open_a_new_store_together(self, tmp_path, crew):
        place = (str(tmp_path / "new"), b"")
        counts = crew.run(kv_crew.open_together, [place] * EIGHT)
        assert sorted(counts) == list(range(1, EIGHT + 1))

    def test_a_store_must_be_connected(self, tmp_path):
        with pytest.raises(AuthNotConnectedError):
            DiskKV(tmp_path).get(b"key")


@pytest.fixture(scope="module", params=sorted(found_servers()))
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of each kind of server in turn."""
    with running_redis(found_servers()[request.param]) as url:
        yield url


class TestRedisKV(ProcessContract):
    short = 0.02

    @pytest.fixture
    def place(self, server_url: str) -> tuple[str, bytes]:
        return server_url, b"test %s:" % secrets.token_hex(4).encode()

    @pytest.fixture
    def outlive(self) -> Callable[[], None]:
        return lambda: time.sleep(self.short + 0.01)

    @pytest.fixture
    def kv(self, place: tuple[str, bytes]) -> Iterator[KVClient]:
        url, prefix = place
        with RedisKV(url, key_prefix=prefix) as kv:
            yield kv
            kv.delete_many(list(kv.scan()))


class TestOpenKV:
    @pytest.mark.parametrize("name", ["memory:", ":memory:"])
    def test_memory_is_a_store_in_memory_with_the_clock_given(self, name, clock):
        kv = open_kv(name, clock=clock)
        assert isinstance(kv, MemoryKV)
        kv.set(b"key", b"value", ttl=1)
        clock.advance(seconds=1)
        assert kv.get(b"key") is None

    @pytest.mark.parametrize("kind", [str, lambda path: path])
    def test_a_path_is_a_store_in_that_folder_with_the_clock_given(self, kind, tmp_path, clock):
        with open_kv(kind(tmp_path / "store"), clock=clock) as kv:
            assert isinstance(kv, DiskKV)
            kv.set(b"key", b"value", ttl=1)
            clock.advance(seconds=1)
            assert kv.get(b"key") is None

    @pytest.mark.parametrize("scheme", ["redis", "rediss", "valkey", "valkeys", "unix", "REDIS"])
    def test_a_server_is_not_reached_before_it_is_connected(self, scheme):
        assert isinstance(open_kv(f"{scheme}://localhost:1/0"), RedisKV)

    def test_a_store_is_itself(self):
        kv = MemoryKV()
        assert open_kv(kv) is kv

    @pytest.mark.parametrize("url", ["memcached://host", "http://host", "sqlite:///kv.db", ""])
    def test_anything_else_is_a_config_error_that_names_what_can_be_given(self, url):
        with pytest.raises(ConfigError, match="folder"):
            open_kv(url)

    def test_the_error_does_not_repeat_a_password(self):
        with pytest.raises(ConfigError) as caught:
            open_kv("memcached://user:hunter2@host")
        assert "hunter2" not in str(caught.value)


def test_the_package_offers_its_public_names_and_no_other():
    assert sorted(package.__all__) == dir(package)
    for name in package.__all__:
        assert getattr(package, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'SQLKV'"):
        _ = package.SQLKV
