"""Every statement of the library finds its rows by an index, at 100,000 rows a table."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sqlite3
import uuid
from datetime import UTC, datetime

import psycopg
import pytest

import derp_auth_lite
from derp_auth_lite._migrations import migrate
from derp_auth_lite._statements import Statement
from derp_auth_lite._tables import TABLES
from derp_auth_lite.orm import DatabaseEngine

ROWS = 100_000
FAR = datetime(2500, 1, 1, tzinfo=UTC)
BY_NAME = {
    "limit": 10,
    "n": 10,
    "offset": 0,
    "counter": 1,
    "most_failures": 100,
    "refresh_counter": 1,
    "attempts": 1,
    "failed_sign_ins": 0,
    "is_active": True,
    "is_superuser": False,
    "details": {},
    "metadata": {},
    "payload": {},
}
OF_ONE = {"_native.sessions._BEYOND": {"keep": 3}, "_local.outbox._HURRY": {"now": FAR}}
"""A name means something else here, or all rows would match."""
WHOLE = re.compile(r"\bCOUNT\(|\bNOT EXISTS\(")
"""Counting all rows, or asking after an import whether all have something, reads all of them."""


def statements():
    """Return every Statement that is a constant of a module, by name."""
    found = {}
    for module in pkgutil.walk_packages(derp_auth_lite.__path__, "derp_auth_lite."):
        if ".flask" in module.name or ".testing" in module.name or module.name.endswith("__main__"):
            continue
        if re.search(r"\.\d", module.name):
            continue  # a migration is no module of its own
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, Statement):
                found[f"{module.name.removeprefix('derp_auth_lite.')}.{name}"] = value
    return found


STATEMENTS = statements()


class Values(dict):
    """A value of a fitting type for every name."""

    def __missing__(self, name):
        if name in BY_NAME:
            return BY_NAME[name]
        if re.search(r"(^|_)(now|time|end|at|before|until|cutoff|since|due|horizon)$", name):
            return datetime(2026, 1, 1, tzinfo=UTC)
        if re.search(r"(^|_)(id|key|keep|org|mail|one|other)$", name):
            return str(uuid.UUID(int=5))
        return "x"


def fill_sqlite(path):
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous = 0")
    connection.execute("PRAGMA foreign_keys = 0")
    for table in TABLES:
        name = table._meta.table_name
        columns = connection.execute(f"PRAGMA table_info({name})").fetchall()
        values = ", ".join(_sqlite_value(column[1], column[2]) for column in columns)
        connection.execute(
            "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < ?)"
            f" INSERT INTO {name} SELECT {values} FROM s",
            (ROWS,),
        )
    connection.execute("ANALYZE")
    connection.commit()
    connection.close()


def _sqlite_value(name, kind):
    if kind == "INTEGER":
        return "n * 1000000"
    if name in {"metadata", "payload", "details"}:
        return "'{}'"
    if name == "id" or name.endswith("_id"):
        return "printf('00000000-0000-4000-8000-%012d', n)"
    return "'x' || n"


def fill_postgres(url):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        for table in TABLES:
            name = table._meta.table_name
            columns = connection.execute(
                "SELECT column_name, data_type FROM information_schema.columns"
                " WHERE table_name = %s ORDER BY ordinal_position",
                (name,),
            ).fetchall()
            values = ", ".join(_postgres_value(kind) for _, kind in columns)
            connection.execute(
                f"INSERT INTO {name} SELECT {values} FROM generate_series(1, {ROWS}) n"
            )
        connection.execute("ANALYZE")


def _postgres_value(kind):
    return {
        "uuid": "('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid",
        "timestamp with time zone": "now() + n * interval '1 second'",
        "jsonb": "'{}'::jsonb",
        "boolean": "true",
        "integer": "n",
        "bigint": "n",
        "text": "'x' || n",
    }[kind]


@pytest.fixture(scope="module")
def sqlite_engine(tmp_path_factory):
    path = tmp_path_factory.mktemp("plans") / "auth.db"
    engine = DatabaseEngine(path)
    engine.connect()
    migrate(engine)
    fill_sqlite(path)
    yield engine
    engine.disconnect()


@pytest.fixture(scope="module")
def postgres_engine(postgres_server):
    from .servers.postgres import new_database

    with new_database(postgres_server) as url:
        engine = DatabaseEngine(url)
        engine.connect()
        migrate(engine)
        fill_postgres(url)
        yield engine
        engine.disconnect()


def plan(engine, name, prefix):
    statement = STATEMENTS[name]
    _, names, constants = statement._compile(engine.database, engine.dialect)
    values = {each: Values()[each] for each in names if each not in constants}
    values.update(OF_ONE.get(name, {}))
    sql, parameters = statement.bind(engine.database, engine.dialect, values)
    with engine.connection():
        rows = engine.database.execute_sql(f"{prefix} {sql}", parameters).fetchall()
    return sql, [str(row[-1]) for row in rows]


def test_there_are_statements_to_look_at():
    assert len(STATEMENTS) > 40
    assert "_native.sessions._BY_ID" in STATEMENTS


@pytest.mark.timing
@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_sqlite_reads_no_table_from_end_to_end(sqlite_engine, name):
    sql, steps = plan(sqlite_engine, name, "EXPLAIN QUERY PLAN")
    scans = [step for step in steps if step.startswith("SCAN") and "INDEX" not in step
             and "CONSTANT" not in step]  # fmt: skip
    # What belongs to one user may be sorted; what is cut off by a limit must come in its order.
    sorts = [step for step in steps if "TEMP B-TREE" in step and "LIMIT" in sql]
    if not WHOLE.search(sql):
        assert (scans, sorts) == ([], []), sql


@pytest.mark.timing
@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_postgresql_reads_no_table_from_end_to_end(postgres_engine, name):
    sql, steps = plan(postgres_engine, name, "EXPLAIN")
    if not WHOLE.search(sql):
        assert [step for step in steps if "Seq Scan" in step] == [], sql
