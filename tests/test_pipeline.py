"""What is sent to PostgreSQL when: how often an act waits for it, and what an error undoes."""

from __future__ import annotations

import _thread
import contextlib
import signal
import threading
import time

import peewee
import psycopg
import pytest

from derp_auth_lite._migrations import migrate
from derp_auth_lite.exceptions import AuthBackendError, AuthError, ConfigError
from derp_auth_lite.orm import Conflict, DatabaseEngine

from .servers import pooler
from .support import PASSWORD, Request, native_client
from .test_orm import ADD, NAMES, add, names, terminate_all

EMAIL = "ada@example.com"


def values(engine, number, **changed):
    """Return what an organization of that number is added with."""
    made = {
        "id": f"00000000-0000-4000-8000-{number:012}",
        "name": f"n{number}",
        "slug": f"s{number}",
        "metadata": {},
        "now": engine.now,
    }
    return made | changed


@pytest.fixture
def engine(postgres_url, clock):
    engine = DatabaseEngine(postgres_url, clock=clock, pool_size=2)
    engine.connect()
    migrate(engine)
    yield engine
    engine.disconnect()


@pytest.fixture
def waits(monkeypatch):
    """Count how often somebody waits for the server: each wait is one round trip."""
    counted = []
    real = psycopg.Connection.wait

    def wait(self, *arguments, **keywords):
        counted.append(self)
        return real(self, *arguments, **keywords)

    monkeypatch.setattr(psycopg.Connection, "wait", wait)
    return counted


def wrong_password(auth):
    with pytest.raises(AuthError):
        auth.sign_in_with_password(EMAIL, "not the password")


ACTS = {
    "authenticate": (1, lambda auth, world: auth.authenticate(world["request"])),
    "get_user": (1, lambda auth, world: auth.get_user(world["user"].id)),
    "refresh_token": (1, lambda auth, world: auth.refresh_token(world["refresh_token"])),
    "sign_in_with_password": (3, lambda auth, _: auth.sign_in_with_password(EMAIL, PASSWORD)),
    "a wrong password": (3, lambda auth, _: wrong_password(auth)),
    "sign_up": (2, lambda auth, _: auth.sign_up(email="bea@example.com", password=PASSWORD)),
    "set_active_org": (
        3,
        lambda auth, world: auth.set_active_org(
            session_id=world["session"].session_id, org_id=world["org"].id
        ),
    ),
    "set_password": (
        4,
        lambda auth, world: auth.set_password(user_id=world["user"].id, password="another one"),
    ),
    "sign_out": (2, lambda auth, world: auth.sign_out(world["session"].session_id)),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("place", ["direct", "pooled"])
def test_an_act_waits_for_the_server_only_so_often(postgres_url, clock, waits, act, place):
    """Where the server is another machine, this is what an act costs."""
    most, run = ACTS[act]
    with contextlib.ExitStack() as stack:
        url = postgres_url
        if place == "pooled":
            url = stack.enter_context(pooler.running_pooler(url))
        auth = stack.enter_context(native_client(url, clock))
        auth.sign_up(email=EMAIL, password=PASSWORD)
        result = auth.sign_in_with_password(EMAIL, PASSWORD)
        request = Request(result.tokens.access_token)
        world = {
            "user": result.user,
            "refresh_token": result.tokens.refresh_token,
            "request": request,
            "session": auth.authenticate(request),
            "org": auth.create_org(name="x", slug="x", creator_id=result.user.id),
        }
        waits.clear()
        run(auth, world)
        assert len(waits) == most


def test_what_nobody_waits_for_is_done_in_its_order_with_what_comes_next(engine, waits):
    with engine.transaction():
        engine.send(ADD, **values(engine, 1))
        engine.send(ADD, **values(engine, 2))
        assert waits == []
        assert names(engine) == ["n1", "n2"]
        assert len(waits) == 1
        engine.send(ADD, **values(engine, 3))
    assert len(waits) == 2
    assert names(engine) == ["n1", "n2", "n3"]


def test_outside_of_a_transaction_nothing_is_kept(engine):
    engine.send(ADD, **values(engine, 1))
    with pytest.raises(Conflict):
        engine.send(ADD, **values(engine, 1))
    assert names(engine) == ["n1"]


def test_in_a_database_of_the_application_nothing_is_kept(postgres_url, engine, clock):
    application = peewee.PostgresqlDatabase(postgres_url, prefer_psycopg3=True)
    other = DatabaseEngine(application, clock=clock)
    other.connect()
    with application.atomic(), pytest.raises(Conflict), other.savepoint():
        other.send(ADD, **values(engine, 1))
        other.send(ADD, **values(engine, 1))
    application.close()


def test_an_error_of_what_was_kept_fails_the_commit_and_nothing_is_done(engine):
    done = []
    with pytest.raises(AuthBackendError), engine.transaction():
        add(engine, 1)
        engine.after_commit(lambda: done.append("told"))
        engine.send(ADD, **values(engine, 2, slug="s1"))
        engine.send(ADD, **values(engine, 3))
    assert (names(engine), done) == ([], [])
    add(engine, 4)
    assert names(engine) == ["n4"]


def test_a_conflict_of_what_was_kept_is_not_taken_for_one_of_the_next_statement(engine):
    with pytest.raises(AuthBackendError), engine.transaction():
        engine.send(ADD, **values(engine, 1))
        engine.send(ADD, **values(engine, 2, slug="s1"))
        with contextlib.suppress(Conflict):
            add(engine, 3)
    assert names(engine) == []


def test_a_conflict_of_what_is_waited_for_is_one_behind_what_was_kept(engine):
    add(engine, 1)
    with pytest.raises(Conflict), engine.transaction():
        engine.send(ADD, **values(engine, 2))
        add(engine, 3, slug="s1")
    assert names(engine) == ["n1"]


def test_a_savepoint_begins_after_what_was_kept_and_undoes_its_own(engine):
    with engine.transaction():
        engine.send(ADD, **values(engine, 1))
        with pytest.raises(ZeroDivisionError), engine.savepoint():
            engine.send(ADD, **values(engine, 2))
            _ = 1 / 0
        with engine.savepoint():
            engine.send(ADD, **values(engine, 3))
        engine.send(ADD, **values(engine, 4))
    assert names(engine) == ["n1", "n3", "n4"]


def test_what_was_kept_is_dropped_with_a_roll_back(engine, waits):
    with engine.connection():
        with pytest.raises(ZeroDivisionError), engine.transaction():
            engine.send(ADD, **values(engine, 1))
            _ = 1 / 0
        assert waits == []
        add(engine, 2)
    assert names(engine) == ["n2"]


def test_what_a_call_left_behind_that_was_cut_off_is_not_begun_by_the_next(engine):
    with engine.connection():
        engine.database.begin()
    with engine.connection():
        add(engine, 1)
    assert names(engine) == ["n1"]


def test_a_value_that_cannot_be_sent_is_refused_before_anything_is(engine):
    with pytest.raises(AuthBackendError), engine.transaction():
        engine.send(ADD, **values(engine, 1))
        engine.send(ADD, **values(engine, 2, name="a\0b"))
    assert names(engine) == []


def test_a_statement_that_failed_when_it_was_first_prepared_works_later(engine):
    """Nothing may believe that the server knows a statement that it never came to."""
    for divisor in (0, 0, 1):
        fails = pytest.raises(AuthBackendError) if divisor == 0 else contextlib.nullcontext()
        with fails, engine.transaction():
            engine.database.keep("SELECT 1 / %s", [divisor])
            engine.send(ADD, **values(engine, divisor))
            assert names(engine) == ["n1"]


@pytest.mark.parametrize(
    ("statement", "reason"),
    [("SELECT 1 / 0", "DivisionByZero"), ("SELECT 1 FROM nothing", "UndefinedTable")],
)
def test_the_log_says_what_was_wrong_with_a_statement_that_was_kept(
    engine, caplog, statement, reason
):
    with pytest.raises(AuthBackendError), engine.transaction():
        engine.database.keep(statement, [])
        engine.send(ADD, **values(engine, 1))
        names(engine)
    assert reason in caplog.text


def test_what_was_kept_goes_out_again_where_the_server_had_hung_up_before(
    engine, postgres_url, monkeypatch
):
    monkeypatch.setattr(engine.database, "_is_closed", lambda _: False)
    for number, first in enumerate(["kept alone", "waited for", "a savepoint"]):
        names(engine)
        terminate_all(postgres_url)
        with engine.transaction():
            engine.send(ADD, **values(engine, number))
            if first == "waited for":
                names(engine)
            if first == "a savepoint":
                with engine.savepoint():
                    pass
    assert names(engine) == ["n0", "n1", "n2"]
    assert len(engine.database._connections) == 1


def test_a_commit_that_is_not_answered_is_not_said_again(engine, postgres_url):
    with pytest.raises(AuthBackendError), engine.transaction():
        add(engine, 1)
        engine.send(ADD, **values(engine, 2))
        terminate_all(postgres_url)
    assert names(engine) == []


@pytest.fixture
def _heeds_ctrl_c():
    """A program that a shell starts in the background does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_heeds_ctrl_c")
@pytest.mark.parametrize("where", ["in a statement", "in the commit"])
def test_ctrl_c_in_the_middle_undoes_all_and_gives_no_broken_connection_back(engine, where, caplog):
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), engine.transaction():
        add(engine, 1)
        threading.Timer(0.3, _thread.interrupt_main).start()
        engine.send(ADD, **values(engine, 2))
        engine.database.keep("SELECT pg_sleep(20)", [])
        if where == "in a statement":
            names(engine)
    assert time.monotonic() - begun < 10
    goes_on_well(engine, caplog)


def test_ctrl_c_between_a_message_and_its_answers_leaves_none_for_the_next(
    engine, monkeypatch, caplog
):
    def wait(*_arguments, **_keywords):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), engine.transaction():
        add(engine, 1)
        with monkeypatch.context() as patched:
            patched.setattr(psycopg.Connection, "wait", wait)
            names(engine)
    goes_on_well(engine, caplog)


def goes_on_well(engine, caplog):
    assert "roll-back failed" not in caplog.text
    assert engine.database._in_use == {}
    for number in range(3, 6):
        with engine.transaction():
            engine.send(ADD, **values(engine, number))
    assert names(engine) == ["n3", "n4", "n5"]


def test_a_percent_sign_of_a_statement_is_no_parameter(engine):
    rows = engine.database.rows("SELECT 7 %% 4, %s, '100%%', %s", ["%s", 5])
    assert rows == [(3, "%s", "100%", 5)]


def test_no_more_than_a_hundred_statements_stay_prepared(engine):
    with engine.connection():
        for number in range(150):
            engine.database.rows(f"SELECT {number}", [])
        (count,) = engine.database.rows("SELECT count(*) FROM pg_prepared_statements", [])
    assert count == (100,)


def test_a_libpq_without_pipelines_is_refused(monkeypatch):
    monkeypatch.setattr(psycopg.Pipeline, "is_supported", lambda: False)
    with pytest.raises(ConfigError, match="libpq 14"):
        DatabaseEngine("postgresql://localhost/none")


def test_a_large_message_and_a_large_answer_pass_each_other(engine):
    with engine.transaction():
        for number in range(40):
            engine.send(ADD, **values(engine, number, metadata={"x": "y" * 100_000}))
        for _ in range(3):
            engine.database.keep("SELECT metadata FROM auth_organizations", [])
        assert len(engine.fetch(NAMES)) == 40
    assert len(names(engine)) == 40
