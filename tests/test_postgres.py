"""PostgreSQL beyond one process and one machine: poolers, limits of time, the size of the pool."""

from __future__ import annotations

import contextlib
import io
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from derp_auth_lite._migrations import _LOCK
from derp_auth_lite._native.transfer import export_lines, load, read_lines
from derp_auth_lite.exceptions import AuthBackendError, ConfigError
from derp_auth_lite.orm import DatabaseEngine

from .servers import pooler
from .support import PASSWORD, MovableClock, Request, native_client

POOLERS = [
    pooler.running_pooler,
    pytest.param(
        pooler.running_pgbouncer,
        marks=pytest.mark.skipif(
            pooler.PGBOUNCER is None, reason="PgBouncer is not installed; the other one was asked"
        ),
    ),
]


def with_options(url, **options):
    """Return a URL with more options."""
    text = "&".join(f"{name}={value}" for name, value in options.items())
    return f"{url}{'&' if '?' in url else '?'}{text}"


def everyday_life(auth, number):
    """Sign up, in, out, refresh, work in an organization: every kind of transaction."""
    email = f"user{number}@example.com"
    user = auth.sign_up(email=email, password=PASSWORD).user
    org = auth.create_org(name="x", slug=f"org-{number}", creator_id=user.id)
    for _ in range(8):  # the driver prepares what it sees for the fifth time
        tokens = auth.sign_in_with_password(email, PASSWORD).tokens
        tokens = auth.refresh_token(tokens.refresh_token)
        session = auth.authenticate(Request(tokens.access_token))
        auth.set_active_org(session_id=session.session_id, org_id=org.id)
        assert auth.get_user(user.id).email == email
        assert auth.authenticate(Request(tokens.access_token)).org_id == org.id
        auth.sign_out(session.session_id)
        assert auth.authenticate(Request(tokens.access_token)) is None
    assert len(auth.list_sessions(user_id=user.id)) == 1


@pytest.mark.parametrize("running", POOLERS)
def test_everything_works_where_each_transaction_gets_another_connection(
    postgres_url, clock, running
):
    with running(postgres_url) as url, native_client(url, clock) as auth:
        assert auth._db.database.behind_pooler
        with ThreadPoolExecutor(6) as threads:
            list(threads.map(lambda number: everyday_life(auth, number), range(6)))
        assert auth.count_users() == 6


@pytest.mark.parametrize("running", POOLERS)
def test_the_schema_is_made_behind_a_pooler(new_postgres_url, clock, running):
    with running(new_postgres_url) as url, native_client(url, clock) as auth:
        everyday_life(auth, 0)


def test_without_a_pooler_statements_are_prepared_and_the_session_has_limits(postgres_url, clock):
    with native_client(postgres_url, clock) as auth:
        everyday_life(auth, 0)
        database = auth._db.database
        with auth._db.connection():
            assert not database.behind_pooler
            assert database.rows("SELECT count(*) > 3 FROM pg_prepared_statements", []) == [(True,)]
            assert database.rows("SHOW statement_timeout", []) == [("30s",)]
            assert database.rows("SHOW idle_in_transaction_session_timeout", []) == [("30s",)]


@pytest.fixture(params=["direct", "pooled"])
def impatient(request, postgres_url, clock):
    """A client that waits a quarter of a second."""
    with contextlib.ExitStack() as stack:
        url = postgres_url
        if request.param == "pooled":
            url = stack.enter_context(pooler.running_pooler(url))
        yield stack.enter_context(native_client(with_options(url, statement_timeout=0.25), clock))


def test_a_lock_of_somebody_else_is_waited_for_no_longer_than_the_limit(impatient, postgres_url):
    impatient.sign_up(email="ada@example.com", password=PASSWORD)
    with psycopg.connect(postgres_url) as other:
        other.execute("SELECT 1 FROM auth_users FOR UPDATE")
        begun = time.monotonic()
        with pytest.raises(AuthBackendError):
            impatient.sign_in_with_password("ada@example.com", PASSWORD)
        assert 0.2 < time.monotonic() - begun < 5
    assert impatient.sign_in_with_password("ada@example.com", PASSWORD).tokens


def test_a_process_that_hangs_in_a_transaction_loses_it_and_its_locks(impatient, postgres_url):
    user = impatient.sign_up(email="ada@example.com", password=PASSWORD).user
    with pytest.raises(AuthBackendError), impatient._db.transaction():
        impatient._accounts.hold(user.id)
        with psycopg.connect(postgres_url) as other:
            other.execute("SELECT 1 FROM auth_users FOR UPDATE")
        impatient._accounts.hold(user.id)
    assert impatient.sign_in_with_password("ada@example.com", PASSWORD).tokens


def test_an_upgrade_waits_for_another_longer_than_a_statement_may_take(new_postgres_url, clock):
    with psycopg.connect(new_postgres_url) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        threading.Timer(0.6, other.rollback).start()
        with native_client(with_options(new_postgres_url, statement_timeout=0.2), clock) as auth:
            assert auth.count_users() == 0


def test_an_export_and_an_import_wait_for_who_is_at_their_other_end(impatient):
    impatient.create_user(email="ada@example.com")
    lines = []
    for line in export_lines(impatient._db):
        time.sleep(0.3)
        lines.append(line)
    assert impatient.delete_user(impatient.find_user("ada@example.com").id)

    def slowly():
        for record in read_lines(io.BytesIO("".join(lines).encode())):
            time.sleep(0.3)
            yield record

    load(impatient._db, slowly())
    assert impatient.find_user("ada@example.com") is not None


def test_an_acknowledged_write_is_read_by_every_thread_at_once(postgres_url, clock):
    url = with_options(postgres_url, pool_size=3)
    with native_client(url, clock) as auth, ThreadPoolExecutor(3) as threads:
        for number in range(20):
            made = auth.create_user(email=f"user{number}@example.com")
            assert list(threads.map(auth.get_user, [made.id] * 3)) == [made] * 3


def test_the_pool_opens_no_more_connections_than_its_size(postgres_url, clock):
    with native_client(with_options(postgres_url, pool_size=2), clock) as auth:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda number: everyday_life(auth, number), range(8)))
        database = auth._db.database
        assert len(database._connections) + len(database._in_use) <= 2


def test_no_free_connection_in_time_is_a_typed_error(postgres_url, clock):
    engine = DatabaseEngine(with_options(postgres_url, pool_size=1, pool_timeout=0.2), clock=clock)
    engine.connect()
    held, done = threading.Event(), threading.Event()

    def hold():
        with engine.connection():
            held.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    try:
        with pytest.raises(AuthBackendError), engine.connection():
            pass
    finally:
        done.set()
        thread.join()
        engine.disconnect()


@pytest.mark.parametrize(
    "options",
    [{"pool_size": 0}, {"pool_size": "many"}, {"pool_timeout": -1}, {"statement_timeout": "nan"}],
    ids=["no pool", "no number", "negative", "not a number"],
)
def test_an_option_that_cannot_be_used_is_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        DatabaseEngine(with_options("postgresql://h/d", **options))


@pytest.mark.parametrize(
    "place",
    ["u:s3cret%zz@127.0.0.1:1/db", "u:s3cret@[::1/db", "u:s3cret@127.0.0.1/db?bogus=1"],
)
def test_a_url_that_cannot_be_read_is_refused_without_its_password(place):
    """The driver's own words would repeat it, and end up in a log with the traceback."""
    with pytest.raises(ConfigError, match="cannot be read") as refused:
        DatabaseEngine(f"postgresql://{place}")
    assert "s3cret" not in "".join(traceback.format_exception(refused.value))


def test_what_is_libpqs_reaches_it_and_what_is_not_does_not():
    url = "postgres://u:p@h/d?pool_size=3&application_name=notes&connect_timeout=1"
    database = DatabaseEngine(url, clock=MovableClock()).database
    assert database.database == ("postgresql://u:p@h/d?application_name=notes&connect_timeout=1")
    assert database._max_connections == 3
    assert "connect_timeout" not in database.connect_params
    assert database.connect_params["tcp_user_timeout"] == 30_000
