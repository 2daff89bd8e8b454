from __future__ import annotations

import contextlib
import logging
import os
import pickle
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from derp_auth_lite.exceptions import AuthBackendError, AuthNotConnectedError, ConfigError
from derp_auth_lite.kv import DiskKV, disk

from .support import MovableClock

LONG = 600.0
FORKS_WITH_THREADS = "ignore:This process .* is multi-threaded:DeprecationWarning"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def kv(folder: Path, clock: MovableClock) -> Iterator[DiskKV]:
    with DiskKV(folder, clock=clock) as kv:
        yield kv


def raw(folder: Path) -> contextlib.closing[sqlite3.Connection]:
    """Return the store's file as anyone could open it who can write to it."""
    return contextlib.closing(sqlite3.connect(folder / "cache.db", isolation_level=None))


def aside(folder: Path) -> list[Path]:
    """Return the databases that were set aside."""
    found = sorted(folder.glob("cache.db.damaged-*"))
    return [path for path in found if not path.name.endswith(("-wal", "-shm"))]


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


class TestRowsThatOthersWrote:
    """CVE-2025-69872: who can write to the store must gain nothing by what its rows say."""

    @pytest.fixture
    def proof(self, tmp_path: Path) -> Path:
        return tmp_path / "proof"

    @pytest.fixture
    def plant(self, folder: Path) -> Callable[..., None]:
        def plant(key: object, **columns: object) -> None:
            row = {"key": key, "raw": 1, "mode": 1, "filename": None, "value": b"1", **columns}
            marks = ", ".join("?" * len(row))
            statement = f"INSERT INTO Cache ({', '.join(row)}) VALUES ({marks})"
            with raw(folder) as connection:
                connection.execute(statement, tuple(row.values()))

        return plant

    def refused(self, kv: DiskKV, key: bytes) -> None:
        calls: list[Callable[[], Any]] = [
            lambda: kv.get(key),
            lambda: kv.mget([key]),
            lambda: kv.incr(key),
        ]
        for call in calls:
            with pytest.raises(AuthBackendError, match="did not write"):
                call()

    def test_a_pickled_value_is_never_unpickled(self, kv, plant, proof):
        plant(b"key", mode=4, value=pickle.dumps(Bomb(proof)))
        self.refused(kv, b"key")
        assert kv.set_nx(b"key", b"new") is False
        assert kv.delete(b"key") is True
        assert not proof.exists()
        pickle.loads(pickle.dumps(Bomb(proof)))
        assert proof.exists()

    def test_a_pickled_key_is_never_unpickled(self, kv, plant, proof):
        plant(pickle.dumps(Bomb(proof)), raw=0)
        plant("text")
        plant(17)
        kv.set(b"key", b"value")
        assert list(kv.scan()) == [b"key"]
        assert not proof.exists()

    @pytest.mark.parametrize("mode", [1, 2, 3, 4])
    @pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "../target"])
    def test_a_file_that_a_row_names_is_neither_read_nor_removed(
        self, kv, plant, folder, clock, mode, name
    ):
        target = folder.parent / "target"
        target.write_bytes(b"1")
        for key in (b"read", b"deleted", b"replaced", b"in bulk"):
            plant(key, mode=mode, filename=name, value=None)
        plant(b"old", mode=mode, filename=name, value=None, expire_time=1.0)
        self.refused(kv, b"read")
        assert kv.delete(b"deleted") is True
        assert kv.delete_many([b"in bulk"]) == 1
        kv.set(b"replaced", b"new")
        assert kv.purge() == 1
        assert kv.get(b"replaced") == b"new"
        assert target.read_bytes() == b"1"

    @pytest.mark.parametrize("value", ["text", 7, 1.5, None])
    def test_a_value_that_is_not_bytes_is_refused(self, kv, plant, value):
        plant(b"key", value=value)
        self.refused(kv, b"key")
        kv.set(b"key", b"new")
        assert kv.get(b"key") == b"new"

    def test_an_end_that_is_no_time_is_none(self, kv, plant):
        plant(b"key", expire_time="soon")
        assert kv.get(b"key") == b"1"
        assert kv.ttl(b"key") is None

    def test_the_disk_that_diskcache_is_given_refuses_what_it_would_do(self, folder):
        from derp_auth_lite.kv._diskcache import BytesDisk

        (folder / "store").mkdir(parents=True)
        (folder / "file").write_bytes(b"secret")
        bytes_only = BytesDisk(str(folder / "store"))
        bytes_only.remove("../file")
        assert (folder / "file").exists()
        assert bytes_only.store(b"value", False) == (0, 1, None, b"value")
        assert bytes_only.put(b"key") == (b"key", True)
        for value in ("text", 1, {"a": 1}, None):
            with pytest.raises(TypeError):
                bytes_only.store(value, False)
        with pytest.raises(TypeError):
            bytes_only.store(b"value", True)
        for row in ((4, None, pickle.dumps(1)), (2, "../file", None), (1, "../file", b"")):
            with pytest.raises(AuthBackendError):
                bytes_only.fetch(*row, False)
        with pytest.raises(AuthBackendError):
            bytes_only.fetch(1, None, b"value", True)


class TestSettings:
    def test_what_the_store_says_about_diskcache_is_set_right(self, folder):
        with DiskKV(folder) as kv:
            kv.set(b"key", b"value")
        with raw(folder) as connection:
            connection.execute("UPDATE Settings SET value = 'culled' WHERE key LIKE '%policy'")
            connection.execute("UPDATE Settings SET value = 0 WHERE key LIKE 'disk_min%'")
            connection.execute("UPDATE Settings SET value = 9 WHERE key = 'cull_limit'")
        with DiskKV(folder) as kv:
            assert kv.get(b"key") == b"value"
        with raw(folder) as connection:
            settings = dict(connection.execute("SELECT key, value FROM Settings"))
        assert settings["eviction_policy"] == "none"
        assert settings["cull_limit"] == 0
        assert settings["disk_min_file_size"] > 2**40
        assert aside(folder) == []

    @pytest.mark.parametrize("name", ["sqlite_writable_schema", "get", "disk_pickle", b"\xff"])
    def test_a_setting_that_is_none_of_ours_is_not_believed(self, folder, caplog, name):
        with DiskKV(folder) as kv:
            kv.set(b"key", b"value")
        with raw(folder) as connection:
            connection.execute("INSERT INTO Settings VALUES (?, 1)", (name,))
        with DiskKV(folder) as kv:
            assert kv.get(b"key") is None
        assert len(aside(folder)) == 1
        assert "unknown settings" in caplog.text

    def test_settings_that_diskcache_cannot_read_are_damage(self, folder):
        folder.mkdir()
        with raw(folder) as connection:
            connection.execute("CREATE TABLE Settings (key, value)")
            connection.execute("INSERT INTO Settings VALUES ('count', 1), ('count', 2)")
        with DiskKV(folder) as kv:
            assert kv.incr(b"key") == 1
        assert len(aside(folder)) == 1

    def test_every_value_lies_in_its_row(self, kv, folder):
        kv.set(b"key", bytes(3_000_000))
        assert {path.name.split(".")[0] for path in folder.iterdir()} == {"cache", "opening"}

    def test_opening_a_store_again_writes_nothing(self, folder):
        with DiskKV(folder), raw(folder) as connection:
            before = connection.execute("PRAGMA data_version").fetchone()
            with DiskKV(folder):
                pass
            assert connection.execute("PRAGMA data_version").fetchone() == before


def garbage(folder: Path) -> None:
    (folder / "cache.db").write_bytes(os.urandom(20_000))


def cut_short(folder: Path) -> None:
    os.truncate(folder / "cache.db", 5000)


def cut_in_its_header(folder: Path) -> None:
    os.truncate(folder / "cache.db", 50)


def a_folder(folder: Path) -> None:
    (folder / "cache.db").unlink()
    (folder / "cache.db").mkdir()
    (folder / "cache.db" / "file").touch()


def a_folder_for_its_log(folder: Path) -> None:
    (folder / "cache.db-wal").mkdir()


def another_database(folder: Path) -> None:
    (folder / "cache.db").unlink()
    with raw(folder) as connection:
        connection.execute("CREATE TABLE people (name)")


def a_table_of_other_columns(folder: Path) -> None:
    with raw(folder) as connection:
        connection.execute("ALTER TABLE Cache DROP COLUMN access_count")


def a_table_without_its_index(folder: Path) -> None:
    with raw(folder) as connection:
        connection.execute("DROP INDEX Cache_key_raw")


def a_view_for_a_table(folder: Path) -> None:
    with raw(folder) as connection:
        connection.execute("DROP TABLE Cache")
        connection.execute("CREATE VIEW Cache AS SELECT key FROM Settings")


DAMAGES = [
    garbage,
    cut_short,
    cut_in_its_header,
    a_folder,
    a_folder_for_its_log,
    another_database,
    a_table_of_other_columns,
    a_table_without_its_index,
    a_view_for_a_table,
]


class TestDamage:
    @pytest.mark.parametrize("damage", DAMAGES)
    def test_a_store_damaged_while_closed_is_set_aside_and_begun_anew(self, folder, caplog, damage):
        with DiskKV(folder) as kv:
            kv.mset([(b"key %d" % number, b"value") for number in range(200)])
        damage(folder)
        with DiskKV(folder) as kv:
            assert kv.incr(b"counter", ttl=LONG) == 1
            kv.set(b"key", b"value")
        with DiskKV(folder) as kv:
            assert sorted(kv.scan()) == [b"counter", b"key"]
        assert len(aside(folder)) == 1
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert "damaged" in caplog.text

    def test_what_is_set_aside_is_kept_as_it_was(self, folder, clock):
        folder.mkdir()
        (folder / "cache.db").write_bytes(b"not a database" * 999)
        with DiskKV(folder, clock=clock):
            (kept,) = aside(folder)
        assert kept.read_bytes() == b"not a database" * 999
        assert kept.name.startswith("cache.db.damaged-20260101T120000Z-")

    def test_rubbish_beside_the_store_is_left_alone(self, folder):
        (folder / "ab" / "cd").mkdir(parents=True)
        (folder / "ab" / "cd" / "rubbish.val").write_bytes(b"rubbish")
        (folder / "cache.db-journal").write_bytes(b"rubbish")
        (folder / "cache.db-wal").write_bytes(b"rubbish")
        (folder / "opening.lock").write_bytes(b"rubbish" * 999)
        with DiskKV(folder) as kv:
            kv.set(b"key", b"value")
            assert kv.get(b"key") == b"value"
        assert (folder / "ab" / "cd" / "rubbish.val").read_bytes() == b"rubbish"

    def test_an_empty_file_is_a_new_store(self, folder):
        folder.mkdir()
        (folder / "cache.db").touch()
        with DiskKV(folder) as kv:
            assert kv.incr(b"key") == 1
        assert aside(folder) == []

    def test_a_store_whose_making_was_interrupted_is_finished(self, folder):
        with DiskKV(folder) as kv:
            kv.set(b"key", b"value")
        with raw(folder) as connection:
            for name in ("Settings_size_delete", "Settings_size_update"):
                connection.execute(f"DROP TRIGGER {name}")
            connection.execute("DELETE FROM Settings WHERE key > 'd'")
        with DiskKV(folder) as kv:
            assert kv.get(b"key") == b"value"
        assert aside(folder) == []

    @pytest.mark.parametrize("work", ["get", "set", "incr", "scan", "purge", "mset", "mget"])
    def test_a_store_damaged_while_open_is_set_aside_once_and_the_call_succeeds(
        self, kv, folder, caplog, work
    ):
        kv.mset([(b"key %d" % number, os.urandom(900)) for number in range(500)], ttl=LONG)
        with raw(folder) as connection:  # so that what kv read is not kept in its memory
            connection.execute("UPDATE Cache SET access_count = 1")
        for part in ("cache.db", "cache.db-wal"):
            path = folder / part
            with path.open("r+b") as file:  # the same file, not a new one of its name
                file.write(os.urandom(path.stat().st_size))
        calls: dict[str, Callable[[], Any]] = {
            "get": lambda: [kv.get(b"key %d" % number) for number in range(500)],
            "set": lambda: [kv.set(b"key %d" % number, b"") for number in range(500)],
            "incr": lambda: [kv.incr(b"count %d" % number) for number in range(500)],
            "scan": lambda: list(kv.scan()),
            "purge": kv.purge,
            "mset": lambda: kv.mset([(b"key %d" % number, b"") for number in range(500)]),
            "mget": lambda: kv.mget([b"key %d" % number for number in range(500)]),
        }
        calls[work]()
        kv.set(b"key", b"value")
        assert kv.get(b"key") == b"value"
        assert len(aside(folder)) == 1
        assert caplog.text.count("damaged (") == 1

    def test_a_store_cut_short_while_open_is_set_aside(self, kv, folder):
        kv.mset([(b"key %d" % number, os.urandom(900)) for number in range(500)])
        with raw(folder) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        os.truncate(folder / "cache.db", 8192)
        for number in range(500):
            kv.set(b"new %d" % number, b"value")
        assert kv.get(b"new 499") == b"value"
        assert len(aside(folder)) == 1

    def test_two_clients_that_find_the_damage_set_one_store_aside(self, kv, folder):
        with DiskKV(folder) as other:
            other.mset([(b"key %d" % number, os.urandom(900)) for number in range(500)])
            garbage(folder)
            (folder / "cache.db-wal").write_bytes(os.urandom(20_000))
            for number in range(500):
                kv.get(b"key %d" % number)
                other.get(b"key %d" % number)
            kv.set(b"shared", b"value")
            assert other.get(b"shared") == b"value"
        assert len(aside(folder)) == 1

    def test_a_client_that_finds_the_damage_late_leaves_the_new_store(self, kv, folder):
        with DiskKV(folder) as other:
            (folder / "cache.db").rename(folder / "cache.db.damaged-by-another")
            other.set(b"key", b"value")
        kv._store.set_aside(sqlite3.DatabaseError("found late"))
        assert kv.get(b"key") == b"value"
        assert len(aside(folder)) == 1

    def test_processes_that_open_a_damaged_store_together_set_one_aside(self, folder, crew):
        from . import kv_crew

        folder.mkdir()
        garbage(folder)
        counts = crew.run(kv_crew.open_together, [(str(folder), b"")] * 8)
        assert sorted(counts) == list(range(1, 9))
        assert len(aside(folder)) == 1

    def test_a_table_that_is_dropped_while_the_store_is_open_is_damage(self, kv, folder):
        with raw(folder) as connection:
            connection.execute("DROP TABLE Cache")
        assert kv.incr(b"key") == 1
        assert len(aside(folder)) == 1


class TestReplacement:
    """Clients on one folder never part ways, whatever is done to the files beneath them."""

    def test_a_store_that_is_wiped_while_open_is_begun_anew_for_all(self, kv, folder, caplog):
        kv.set(b"key", b"value")
        with DiskKV(folder) as other:
            shutil.rmtree(folder)
            time.sleep(0.02)  # a reader looks at the file every 10 ms, a writer each time
            assert kv.get(b"key") is None
            assert kv.set_nx(b"key", b"new") is True
            assert other.set_nx(b"key", b"newer") is False
            assert other.get(b"key") == b"new"
        assert "was replaced" in caplog.text
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    def test_a_writer_never_writes_to_a_file_that_was_wiped(self, kv, folder):
        kv.set(b"key", b"value")
        assert kv.get(b"key") == b"value"
        shutil.rmtree(folder)
        assert kv.set_nx(b"key", b"mine") is True
        with DiskKV(folder) as other:
            assert other.set_nx(b"key", b"theirs") is False

    def test_a_backup_that_is_put_back_while_the_store_is_open_is_what_all_see(
        self, kv, folder, tmp_path
    ):
        kv.set(b"key", b"then")
        with raw(folder) as connection:
            connection.execute("VACUUM INTO ?", (str(tmp_path / "backup"),))
        kv.set(b"key", b"now")
        for path in folder.glob("cache.db*"):
            path.unlink()
        (tmp_path / "backup").rename(folder / "cache.db")
        time.sleep(0.02)
        assert kv.get(b"key") == b"then"


class TestWhatCannotBeWritten:
    """Rights and a full disk are a typed error, and no reason to set a store aside."""

    def run_as_nobody(self, work: Callable[[], None]) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                if os.geteuid() == 0:
                    os.setuid(65534)
                work()
                os._exit(0)
            except AuthBackendError as error:
                os._exit(1 if isinstance(error.__cause__, (OSError, sqlite3.Error)) else 2)
            except BaseException:  # a child must not go on with the parent's tests
                os._exit(3)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    @pytest.fixture
    def open_folder(self) -> Iterator[Path]:
        """A folder that another user can reach; pytest's own cannot be."""
        with tempfile.TemporaryDirectory() as name:
            Path(name).chmod(0o755)
            yield Path(name)

    def test_a_folder_that_cannot_be_made_is_an_auth_backend_error(self, open_folder):
        open_folder.chmod(0o555)
        kv = DiskKV(open_folder / "store")
        assert self.run_as_nobody(kv.connect) == 1
        assert list(open_folder.iterdir()) == []

    @pytest.mark.parametrize("mode", [0o444, 0o000])
    def test_a_store_of_another_user_is_an_auth_backend_error_and_stays(self, open_folder, mode):
        with DiskKV(open_folder) as kv:
            kv.set(b"key", b"value")
        for path in open_folder.iterdir():
            path.chmod(mode)
        open_folder.chmod(0o555)
        other = DiskKV(open_folder)
        assert self.run_as_nobody(other.connect) == 1
        open_folder.chmod(0o755)
        for path in open_folder.iterdir():
            path.chmod(0o600)
        assert aside(open_folder) == []
        with DiskKV(open_folder) as kv:
            assert kv.get(b"key") == b"value"

    def test_a_store_that_turns_read_only_while_open_is_an_auth_backend_error(self, kv, folder):
        kv.set(b"key", b"value")
        kv._store.connection().execute("PRAGMA query_only = 1")
        for call in (
            lambda: kv.set(b"key", b"new"),
            lambda: kv.incr(b"n"),
            lambda: kv.delete(b"key"),
        ):
            kv._store.connection().execute("PRAGMA query_only = 1")
            with pytest.raises(AuthBackendError) as caught:
                call()
            assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        assert kv.get(b"key") == b"value"
        assert aside(folder) == []

    def test_a_full_disk_is_an_auth_backend_error_and_what_is_stored_stays(self, kv, folder):
        kv.set(b"key", b"value")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
        try:
            for call in (
                lambda: kv.set(b"big", bytes(1_000_000)),
                lambda: kv.mset([(b"a", b"1"), (b"big", bytes(1_000_000))]),
            ):
                with pytest.raises(AuthBackendError) as caught:
                    call()
                assert isinstance(caught.value.__cause__, sqlite3.Error)
            assert kv.mget([b"key", b"big", b"a"]) == [b"value", None, None]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        kv.set(b"big", bytes(1_000_000))
        assert len(kv.get(b"big")) == 1_000_000
        assert aside(folder) == []

    def test_a_file_in_place_of_the_folder_is_an_auth_backend_error(self, folder):
        folder.write_bytes(b"mine")
        for place in (folder, folder / "below"):
            with pytest.raises(AuthBackendError, match="store"):
                DiskKV(place).connect()
        assert folder.read_bytes() == b"mine"

    def test_a_damaged_store_that_cannot_be_moved_is_an_auth_backend_error(self, open_folder):
        (open_folder / "cache.db").write_bytes(b"rubbish" * 999)
        (open_folder / "opening.lock").touch()
        for path in open_folder.iterdir():
            path.chmod(0o666)
        open_folder.chmod(0o555)
        assert self.run_as_nobody(DiskKV(open_folder).connect) == 1
        assert (open_folder / "cache.db").read_bytes() == b"rubbish" * 999

    def test_damage_found_while_open_in_a_folder_that_turned_read_only_is_an_auth_backend_error(
        self, open_folder
    ):
        open_folder.chmod(0o777)
        store = open_folder / "store"

        def work() -> None:
            kv = DiskKV(store)
            kv.connect()
            garbage(store)
            store.chmod(0o555)
            for number in range(100):
                kv.set(b"key %d" % number, bytes(9000))

        assert self.run_as_nobody(work) == 1
        assert aside(store) == []


class TestModes:
    def test_folder_and_files_are_their_owners_alone(self, tmp_path):
        before = os.umask(0)
        try:
            kv = DiskKV(tmp_path / "above" / "store")
            with kv:
                kv.set(b"key", b"value")
                modes = {
                    path.name: stat.S_IMODE(path.stat().st_mode)
                    for path in (tmp_path / "above" / "store").iterdir()
                }
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "above" / "store").stat().st_mode) == 0o700
        assert modes == dict.fromkeys(
            ["cache.db", "cache.db-wal", "cache.db-shm", "opening.lock"], 0o600
        )

    def test_a_folder_that_was_there_keeps_its_mode(self, folder):
        folder.mkdir()
        folder.chmod(0o750)
        with DiskKV(folder):
            pass
        assert stat.S_IMODE(folder.stat().st_mode) == 0o750


class TestPlace:
    def test_a_relative_folder_stays_where_it_was_when_the_process_moves(
        self, tmp_path, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        kv = DiskKV("store")
        monkeypatch.chdir("/")
        with kv:
            kv.set(b"key", b"value")
        assert (tmp_path / "store" / "cache.db").exists()
        assert repr(kv) == f"DiskKV('{tmp_path}/store')"

    def test_a_folder_that_diskcache_would_look_for_elsewhere_is_a_config_error(
        self, tmp_path, monkeypatch
    ):
        monkeypatch.setenv("ELSEWHERE", "elsewhere")
        with pytest.raises(ConfigError, match="environment variable"):
            DiskKV(tmp_path / "$ELSEWHERE")
        with DiskKV(tmp_path / "$no such" / "~") as kv:
            kv.set(b"key", b"value")
        assert (tmp_path / "$no such" / "~" / "cache.db").exists()

    def test_a_store_that_is_closed_or_failed_to_open_says_so(self, folder):
        kv = DiskKV(folder)
        with pytest.raises(AuthNotConnectedError):
            kv.get(b"key")
        folder.write_bytes(b"")
        with pytest.raises(AuthBackendError):
            kv.connect()
        with pytest.raises(AuthNotConnectedError):
            kv.get(b"key")
        folder.unlink()
        with kv:
            assert kv.get(b"key") is None
        for call in (lambda: kv.set(b"key", b""), kv.purge, lambda: list(kv.scan())):
            with pytest.raises(AuthNotConnectedError):
                call()


class TestTime:
    @pytest.mark.parametrize("year", [1970, 2001, 2300])
    def test_lifetimes_ask_the_clients_clock_and_no_other(self, folder, year):
        clock = MovableClock(datetime(year, 2, 1, tzinfo=UTC))
        with DiskKV(folder, clock=clock) as kv:
            kv.set(b"key", b"value", ttl=10)
            assert kv.incr(b"counter", ttl=10) == 1
            assert kv.purge() == 0
            assert kv.ttl(b"key") == 10
            clock.advance(seconds=9)
            assert kv.get(b"key") == b"value"
            assert kv.incr(b"counter") == 2
            clock.advance(seconds=1)
            assert kv.get(b"key") is None
            assert kv.incr(b"counter") == 1
            assert kv.purge() == 1


class TestWaiting:
    def test_a_writer_waits_for_another_and_readers_do_not(self, kv, folder):
        kv.set(b"key", b"old")
        with raw(folder) as connection, contextlib.ExitStack() as stack:
            connection.execute("BEGIN IMMEDIATE")
            writer = threading.Thread(target=kv.set, args=(b"key", b"new"))
            writer.start()
            stack.callback(writer.join)
            time.sleep(0.05)
            assert kv.get(b"key") == b"old"
            assert writer.is_alive()
            connection.execute("COMMIT")
        assert kv.get(b"key") == b"new"

    def test_a_writer_that_waits_too_long_gets_an_auth_backend_error(self, kv, folder, monkeypatch):
        monkeypatch.setattr(disk, "_BUSY_SECONDS", 0.05)
        with raw(folder) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for call in (lambda: kv.set(b"key", b""), lambda: kv.incr(b"key"), kv.purge):
                with pytest.raises(AuthBackendError, match="locked") as caught:
                    call()
                assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        kv.set(b"key", b"value")
        assert aside(folder) == []


def in_child(work: Callable[[], object], fork: Callable[[], int] = os.fork) -> int:
    """Run *work* in a forked child; return the child's id."""
    pid = fork()
    if pid == 0:
        try:
            os._exit(0 if work() else 1)
        except BaseException:  # a child must not go on with the parent's tests
            os._exit(2)
    return pid


def succeeded(pid: int) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.filterwarnings(FORKS_WITH_THREADS)
class TestFork:
    def test_a_child_and_its_parent_both_go_on(self, kv):
        kv.set(b"key", b"value")
        pid = in_child(lambda: kv.get(b"key") == b"value" and kv.incr(b"counter"))
        assert kv.get(b"key") == b"value"
        kv.incr(b"counter")
        assert succeeded(pid)
        assert kv.get(b"counter") == b"2"

    def test_what_a_child_writes_after_its_parent_has_closed_is_kept(self, folder):
        """SQLite keeps locks by process: with a connection inherited, the parent's last close would
        delete the log that the child goes on writing to.
        """
        parent = DiskKV(folder)
        parent.connect()
        parent.set(b"key", b"value")
        told, tell = os.pipe()

        def work() -> bool:
            parent.set(b"first", b"value")
            os.read(told, 1)
            parent.set(b"second", b"value")
            return parent.get(b"second") == b"value"

        pid = in_child(work)
        while parent.get(b"first") is None:
            time.sleep(0.001)
        parent.disconnect()
        with DiskKV(folder) as other:
            other.set(b"third", b"value")
            os.write(tell, b"x")
            assert succeeded(pid)
        with DiskKV(folder) as other:
            assert sorted(other.scan()) == [b"first", b"key", b"second", b"third"]
        assert aside(folder) == []

    def test_a_fork_while_threads_write_leaves_the_child_no_held_lock(self, kv):
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                kv.incr(b"counter")

        threads = [threading.Thread(target=write) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for number in range(10):
                pid = in_child(lambda number=number: kv.incr(b"child %d" % number) == 1)
                assert succeeded(pid)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert len(list(kv.scan(prefix=b"child"))) == 10

    def test_a_child_forked_behind_pythons_back_opens_a_connection_of_its_own(self, folder):
        """Servers written in C fork without telling Python: no hook runs."""
        script = f"""
import ctypes, os
from derp_auth_lite.kv import DiskKV
kv = DiskKV({str(folder)!r})
kv.connect()
kv.set(b"key", b"value")
inherited = kv._store.connection()
kv._lock.acquire()  # as another thread might, which the child lacks
pid = ctypes.PyDLL(None).fork()
if pid == 0:
    good = kv.get(b"key") == b"value" and kv._store.connection() is not inherited
    os._exit(0 if good and kv.incr(b"counter") == 1 else 1)
kv._lock.release()
assert os.waitpid(pid, 0)[1] == 0
assert kv.incr(b"counter") == 2
kv.disconnect()
"""
        subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_every_thread_uses_the_one_connection_and_closing_closes_it(kv, folder):
    found: list[bytes | None] = []
    kv.set(b"key", b"value")
    threads = [threading.Thread(target=lambda: found.append(kv.get(b"key"))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"value"] * 5
    kv.disconnect()
    assert sorted(path.name for path in folder.iterdir()) == ["cache.db", "opening.lock"]
