"""Rows that SQLite gives again while nothing has changed, and never a moment longer."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from derp_auth_lite._statements import Bind, Statement
from derp_auth_lite._tables import Organization
from derp_auth_lite.orm import DatabaseEngine

from .support import PASSWORD, Request
from .test_orm import add, migrate

NAMES = Statement(
    lambda: Organization.select(Organization.name).order_by(Organization.name), remembered=True
)
RENAME = Statement(
    lambda: Organization.update({Organization.name: Bind("name")}).returning(Organization.name)
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "app.db"


@pytest.fixture
def engine(path, clock):
    engine = DatabaseEngine(path, clock=clock)
    engine.connect()
    migrate(engine)
    add(engine, 1)
    yield engine
    engine.disconnect()


def names(engine):
    return [name for (name,) in engine.fetch(NAMES)]


def in_thread(work):
    done = []
    thread = threading.Thread(target=lambda: done.append(work()))
    thread.start()
    thread.join()
    assert done
    return done[0]


def test_a_read_is_run_once_while_nothing_changes(engine):
    assert names(engine) == ["n1"]
    run = []
    engine.database.connection().set_trace_callback(run.append)
    assert names(engine) == names(engine) == ["n1"]
    assert run == ["PRAGMA data_version"] * 2


def test_what_this_connection_writes_is_read(engine):
    assert names(engine) == ["n1"]
    engine.fetch(RENAME, name="n2")
    assert names(engine) == ["n2"]
    with pytest.raises(ZeroDivisionError), engine.transaction():
        engine.fetch(RENAME, name="n3")
        assert names(engine) == ["n3"]
        _ = 1 / 0
    assert names(engine) == ["n2"]


def test_what_another_thread_commits_is_read(engine):
    assert names(engine) == ["n1"]
    for number in range(2, 50):
        in_thread(lambda name=f"n{number}": engine.fetch(RENAME, name=name))
        assert names(engine) == [f"n{number}"]


def test_what_another_program_commits_is_read(engine, path):
    other = sqlite3.connect(path, isolation_level=None)
    for number in range(2, 50):
        other.execute("UPDATE auth_organizations SET name = ?", [f"n{number}"])
        assert names(engine) == [f"n{number}"]
    other.execute("BEGIN IMMEDIATE")
    other.execute("UPDATE auth_organizations SET name = 'not yet'")
    assert names(engine) == ["n49"]
    other.execute("COMMIT")
    assert names(engine) == ["not yet"]
    other.execute("DELETE FROM auth_organizations")
    assert names(engine) == []
    other.close()


def test_no_more_than_a_thousand_reads_are_remembered(engine):
    by_slug = Statement(
        lambda: Organization.select(Organization.name).where(Organization.slug == Bind("slug")),
        remembered=True,
    )
    for number in range(3000):
        engine.fetch(by_slug, slug=f"s{number}")
    assert len(engine.database.connection().remembered) <= 1024


def test_a_session_that_another_thread_ended_is_over_at_the_next_request(path):
    from derp_auth_lite import PasswordConfig, open_auth

    with open_auth(path, password=PasswordConfig(hash_profile="cheapest")) as auth:
        tokens = auth.sign_up(email="ada@example.com", password=PASSWORD).tokens
        request = Request(tokens.access_token)
        for _ in range(3):
            session = auth.authenticate(request)
            assert session is not None
        in_thread(lambda: auth.update_user(user_id=session.user_id, role="admin"))
        assert auth.authenticate(request).role == "admin"
        assert auth.get_user(session.user_id).role == "admin"
        in_thread(lambda: auth.sign_out(session.session_id) or True)
        assert auth.authenticate(request) is None
