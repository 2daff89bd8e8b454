"""The engine: statements, transactions, the application's own database, failures."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import peewee
import psycopg
import pytest

from derp_auth_lite._migrations import migrate
from derp_auth_lite._statements import Bind, Statement, from_microseconds, to_microseconds
from derp_auth_lite._tables import TABLES, Event, Organization
from derp_auth_lite.exceptions import AuthBackendError, AuthNotConnectedError, ConfigError
from derp_auth_lite.orm import Conflict, DatabaseEngine

from .support import MovableClock

ADD = Statement(
    lambda: Organization.insert(
        {
            Organization.id: Bind("id"),
            Organization.name: Bind("name"),
            Organization.slug: Bind("slug"),
            Organization.metadata: Bind("metadata"),
            Organization.created_at: Bind("now"),
            Organization.updated_at: Bind("now"),
        }
    ).returning(Organization.id)
)
NAMES = Statement(
    lambda: Organization.select(Organization.name).order_by(Organization.name), repeatable=True
)
ROW = Statement(
    lambda: Organization.select(Organization.metadata, Organization.created_at).where(
        Organization.slug == Bind("slug")
    )
)


@pytest.fixture
def engine(database, clock):
    engine = DatabaseEngine(database, clock=clock)
    engine.connect()
    migrate(engine)
    yield engine
    engine.disconnect()


def add(engine, number, *, slug=None, metadata=None):
    engine.fetch(
        ADD,
        id=f"00000000-0000-4000-8000-{number:012}",
        name=f"n{number}",
        slug=slug or f"s{number}",
        metadata=metadata or {},
        now=engine.now,
    )


def names(engine):
    return [name for (name,) in engine.fetch(NAMES)]


def test_a_value_of_json_and_a_moment_come_back_as_they_went_in(engine, clock):
    clock.now = datetime(2026, 2, 3, 4, 5, 6, 789_012, tzinfo=timezone(timedelta(hours=5)))
    add(engine, 1, metadata={"ü": [1, None, {"x": "'"}]})

    from derp_auth_lite._records import as_object
    from derp_auth_lite.orm import as_utc

    metadata, moment = engine.fetch_one(ROW, slug="s1")
    assert as_object(metadata) == {"ü": [1, None, {"x": "'"}]}
    assert as_utc(moment) == clock.now
    assert as_utc(moment).tzinfo is UTC


def test_microseconds_are_exact_at_both_ends_of_time():
    for moment in (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)):
        assert from_microseconds(to_microseconds(moment)) == moment


def test_a_transaction_keeps_all_or_nothing(engine):
    with pytest.raises(ZeroDivisionError), engine.transaction():
        add(engine, 1)
        _ = 1 / 0
    assert names(engine) == []

    with engine.transaction():
        add(engine, 1)
        with engine.transaction():
            add(engine, 2)
    assert names(engine) == ["n1", "n2"]


def test_a_failure_in_the_inner_block_undoes_the_outer_one_too(engine):
    with pytest.raises(ZeroDivisionError), engine.transaction():
        add(engine, 1)
        with engine.transaction():
            add(engine, 2)
            _ = 1 / 0
    assert names(engine) == []


def test_a_savepoint_undoes_its_own_block_alone(engine):
    with engine.transaction():
        add(engine, 1)
        with pytest.raises(Conflict), engine.savepoint():
            add(engine, 2)
            add(engine, 3, slug="s1")
        add(engine, 4)
    assert names(engine) == ["n1", "n4"]


def test_after_commit_waits_for_the_commit_and_is_dropped_with_a_roll_back(engine):
    done = []
    with engine.transaction():
        engine.after_commit(lambda: done.append("kept"))
        assert done == []
    with pytest.raises(ZeroDivisionError), engine.transaction():
        engine.after_commit(lambda: done.append("lost"))
        _ = 1 / 0
    engine.after_commit(lambda: done.append("at once"))
    assert done == ["kept", "at once"]


def test_a_transaction_on_sqlite_takes_the_write_lock_at_once(tmp_path, clock):
    engine = DatabaseEngine(tmp_path / "a.db", clock=clock)
    engine.connect()
    migrate(engine)
    other = sqlite3.connect(tmp_path / "a.db", timeout=0, isolation_level=None)
    with engine.transaction():
        names(engine)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    other.close()
    engine.disconnect()


def test_sqlite_is_durable_private_and_keeps_foreign_keys(tmp_path, clock):
    engine = DatabaseEngine(tmp_path / "a.db", clock=clock)
    engine.connect()
    database = engine.database
    assert database.pragma("journal_mode") == "wal"
    assert database.pragma("synchronous") == 2
    assert database.pragma("foreign_keys") == 1
    if os.name == "posix":
        for name in ("a.db", "a.db-wal"):
            path = tmp_path / name
            if path.exists():
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
    engine.disconnect()


def test_an_in_memory_database_is_one_in_all_threads_and_dies_with_its_engine(clock):
    engine, other = (DatabaseEngine(":memory:", clock=clock) for _ in range(2))
    for each in (engine, other):
        each.connect()
        migrate(each)
    errors = []

    def write(start):
        try:
            for number in range(start, start + 25):
                with engine.transaction():
                    names(engine)
                    add(engine, number)
        except Exception as error:  # the thread's own would be lost
            errors.append(error)

    threads = [threading.Thread(target=write, args=(100 * n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(names(engine)) == 200
    assert names(other) == []
    engine.disconnect()
    engine.connect()
    migrate(engine)
    assert names(engine) == []
    engine.disconnect()
    other.disconnect()


def test_a_url_may_name_a_sqlite_file(tmp_path, clock):
    engine = DatabaseEngine(f"sqlite:///{tmp_path / 'u.db'}", clock=clock)
    engine.connect()
    engine.disconnect()
    assert (tmp_path / "u.db").exists()


def test_other_databases_are_refused_by_name(clock):
    with pytest.raises(ConfigError, match="mysql"):
        DatabaseEngine("mysql://somewhere/db", clock=clock)
    with pytest.raises(ConfigError, match="MySQLDatabase"):
        DatabaseEngine(peewee.MySQLDatabase("x"), clock=clock)


def test_using_an_engine_that_is_not_open_is_a_typed_error(database, clock):
    engine = DatabaseEngine(database, clock=clock)
    with pytest.raises(AuthNotConnectedError):
        engine.fetch(NAMES)
    with pytest.raises(AuthNotConnectedError):
        engine.transaction()


def test_a_file_that_is_no_database_is_named(tmp_path, clock):
    (tmp_path / "a.db").write_bytes(b"this is no database " * 100)
    with pytest.raises(AuthBackendError, match="not a SQLite database"):
        DatabaseEngine(tmp_path / "a.db", clock=clock).connect()


def test_a_folder_that_is_not_there_is_said_in_words(tmp_path, clock):
    with pytest.raises(AuthBackendError, match="cannot be opened: check path and rights"):
        DatabaseEngine(tmp_path / "none" / "a.db", clock=clock).connect()


def test_a_server_that_is_down_is_a_backend_error_and_its_password_stays_unsaid(clock, caplog):
    url = "postgresql://someone:hunter2hunter2@127.0.0.1:1/none"
    engine = DatabaseEngine(url, clock=clock)
    with caplog.at_level(logging.DEBUG), pytest.raises(AuthBackendError) as caught:
        engine.connect()
    assert "hunter2" not in caplog.text + str(caught.value) + repr(engine)


def test_a_full_disk_undoes_the_transaction_and_the_next_one_works(tmp_path, clock):
    engine = DatabaseEngine(tmp_path / "a.db", clock=clock)
    engine.connect()
    migrate(engine)
    pages = engine.database.pragma("page_count")
    engine.database.pragma("max_page_count", pages)
    with pytest.raises(AuthBackendError, match="disk is full"), engine.transaction():
        for number in range(100):
            add(engine, number, metadata={"x": "y" * 2000})
    assert names(engine) == []
    engine.database.pragma("max_page_count", 2**30)
    add(engine, 1)
    assert names(engine) == ["n1"]
    engine.disconnect()


@pytest.fixture(params=["sqlite", "postgresql"])
def application(request, tmp_path):
    """A database that belongs to the application."""
    if request.param == "sqlite":
        database = peewee.SqliteDatabase(tmp_path / "application.db")
    else:
        url = request.getfixturevalue("new_postgres_url")
        database = peewee.PostgresqlDatabase(url, prefer_psycopg3=True)
    yield database
    if not database.is_closed():
        database.close()


def test_the_applications_transaction_decides_over_our_work_too(application, clock):
    engine = DatabaseEngine(application, clock=clock)
    engine.connect()
    migrate(engine)
    with pytest.raises(ZeroDivisionError), application.atomic():
        add(engine, 1)
        with engine.transaction():
            add(engine, 2)
        _ = 1 / 0
    assert names(engine) == []

    with application.atomic():
        with pytest.raises(Conflict), engine.savepoint():
            add(engine, 1)
            add(engine, 2, slug="s1")
        add(engine, 3)
    assert names(engine) == ["n3"]


def test_work_that_must_not_be_undone_refuses_the_applications_transaction(application, clock):
    engine = DatabaseEngine(application, clock=clock)
    engine.connect()
    migrate(engine)
    with application.atomic(), pytest.raises(RuntimeError, match="must not run inside"):
        engine.transaction(own=True)
    with engine.transaction(own=True):
        add(engine, 1)
    assert names(engine) == ["n1"]


def test_disconnecting_leaves_the_applications_connection_open(application, clock):
    application.connect()
    engine = DatabaseEngine(application, clock=clock)
    engine.connect()
    engine.disconnect()
    assert not application.is_closed()


def test_the_application_opens_and_closes_its_own_connection_around_our_work(application, clock):
    engine = DatabaseEngine(application, clock=clock)
    engine.connect()
    migrate(engine)
    add(engine, 1)
    with engine.transaction():
        add(engine, 2)
    assert application.is_closed()
    application.connect()
    assert names(engine) == ["n1", "n2"]
    assert not application.is_closed()


def test_an_applications_database_in_memory_stays_open_since_closing_would_lose_it(clock):
    application = peewee.SqliteDatabase(":memory:")
    engine = DatabaseEngine(application, clock=clock)
    engine.connect()
    migrate(engine)
    add(engine, 1)
    assert names(engine) == ["n1"]
    application.close()


def test_a_statement_that_was_cut_off_before_its_rows_were_taken_holds_nothing_up(
    tmp_path, clock, monkeypatch
):
    engine = DatabaseEngine(tmp_path / "app.db", clock=clock)
    engine.connect()
    migrate(engine)
    connection, kept = engine.database.connection(), []

    class CutOff(sqlite3.Cursor):
        def fetchall(self):
            kept.append(self)  # as a traceback keeps it that somebody holds
            raise KeyboardInterrupt

    monkeypatch.setattr(connection, "cursor", lambda: CutOff(connection), raising=False)
    with pytest.raises(KeyboardInterrupt):
        add(engine, 1)
    with pytest.raises(KeyboardInterrupt), engine.transaction():
        add(engine, 2)
    monkeypatch.undo()
    other = DatabaseEngine(tmp_path / "app.db", clock=clock)
    other.connect()
    add(other, 3)
    with engine.savepoint():
        add(engine, 4)
    assert names(engine) == ["n1", "n3", "n4"]
    for each in (engine, other):
        each.disconnect()


def test_two_engines_on_two_databases_never_meet_in_many_threads(tmp_path, postgres_url, clock):
    engines = [DatabaseEngine(tmp_path / "a.db", clock=clock), DatabaseEngine(postgres_url)]
    for engine in engines:
        engine.connect()
        migrate(engine)
    errors = []

    def write(index, start):
        try:
            for number in range(start, start + 10):
                add(engines[index], 1000 * index + number)
        except Exception as error:  # the thread's own would be lost
            errors.append(error)

    threads = [
        threading.Thread(target=write, args=(index, 10 * n)) for n in range(4) for index in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(names(engines[0])) == sorted(f"n{n}" for n in range(40))
    assert sorted(names(engines[1])) == sorted(f"n{1000 + n}" for n in range(40))
    for engine in engines:
        engine.disconnect()


def test_a_thread_that_ends_gives_its_postgresql_connection_back(postgres_url, clock):
    engine = DatabaseEngine(postgres_url, clock=clock, pool_size=1)
    engine.connect()
    migrate(engine)
    for _ in range(3):
        thread = threading.Thread(target=names, args=(engine,))
        thread.start()
        thread.join()
    assert names(engine) == []
    engine.disconnect()


def test_a_pool_of_one_does_not_deadlock_on_nested_work(postgres_url, clock):
    engine = DatabaseEngine(postgres_url, clock=clock, pool_size=1)
    engine.connect()
    migrate(engine)
    with engine.transaction(), engine.savepoint():
        add(engine, 1)
        assert names(engine) == ["n1"]
    engine.disconnect()


OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def terminate_all(url):
    """End the other connections, and wait until they have ended."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"SELECT pg_terminate_backend(pid) {OTHERS}")
        while connection.execute(f"SELECT count(*) {OTHERS}").fetchone() != (0,):
            time.sleep(0.001)


def test_an_idle_connection_that_the_server_closed_is_not_noticed_by_the_caller(
    postgres_url, clock
):
    engine = DatabaseEngine(postgres_url, clock=clock)
    engine.connect()
    migrate(engine)
    for number in range(10):
        terminate_all(postgres_url)
        add(engine, number)
        terminate_all(postgres_url)
        with engine.transaction():
            add(engine, 100 + number)
    assert len(names(engine)) == 20
    engine.disconnect()


def test_connections_that_die_between_check_out_and_use_are_not_noticed_by_the_caller(
    postgres_url, clock, monkeypatch
):
    engine = DatabaseEngine(postgres_url, clock=clock)
    engine.connect()
    migrate(engine)
    barrier = threading.Barrier(3)

    def hold():
        with engine.connection():
            barrier.wait()

    def fill_the_pool_and_cut_it():
        threads = [threading.Thread(target=hold) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        terminate_all(postgres_url)

    # Whether one has died is asked a moment too early.
    monkeypatch.setattr(engine.database, "_is_closed", lambda _: False)
    fill_the_pool_and_cut_it()
    assert names(engine) == []
    fill_the_pool_and_cut_it()
    with engine.transaction():
        add(engine, 1)
    assert names(engine) == ["n1"]
    engine.disconnect()


def test_a_connection_terminated_in_a_transaction_fails_once_and_the_next_call_works(
    postgres_url, clock
):
    engine = DatabaseEngine(postgres_url, clock=clock)
    engine.connect()
    migrate(engine)
    for number in range(10):
        with pytest.raises(AuthBackendError), engine.transaction():
            add(engine, number)
            terminate_all(postgres_url)
            names(engine)
        add(engine, 100 + number)
    assert names(engine) == sorted(f"n{100 + number}" for number in range(10))
    engine.disconnect()


def test_every_table_of_the_queries_is_made_by_the_migrations(engine):
    from playhouse.schema_diff import diff_models

    engine.database.connect(reuse_if_open=True)
    with engine.database.bind_ctx(TABLES):
        assert not diff_models(engine.database, list(TABLES))
    assert {model._meta.table_name for model in TABLES} <= set(engine.database.get_tables())


def test_a_missing_value_of_a_statement_is_a_mistake_of_the_program(engine):
    with pytest.raises(KeyError):
        engine.fetch(ROW)


def test_statements_of_one_name_share_no_state_between_dialects(tmp_path, postgres_url, clock):
    statement = Statement(lambda: Event.select(Event.id).where(Event.action == Bind("action")))
    for place in (Path(tmp_path / "a.db"), postgres_url):
        engine = DatabaseEngine(place, clock=MovableClock())
        engine.connect()
        migrate(engine)
        assert engine.fetch(statement, action="none") == []
        engine.disconnect()


def test_disconnecting_lets_the_calls_of_other_threads_finish(engine):
    """To close a connection of SQLite in the middle of a call crashes the interpreter."""
    over = threading.Event()
    wrong = []

    def work(start):
        number = start
        while not over.is_set():
            number += 1
            try:
                with engine.transaction():
                    add(engine, number)
                    names(engine)
            except AuthNotConnectedError:
                over.wait(0.001)
            except Exception as error:  # the thread's own would be lost
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(10_000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        engine.disconnect()
        engine.connect()
        over.wait(0.005)
    over.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(names(engine)) > 4
