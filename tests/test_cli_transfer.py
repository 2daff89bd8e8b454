"""``export`` and ``import`` as commands: what they print, write and refuse."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from derp_auth_lite.cli._app import root
from derp_auth_lite.cli.transfer import _progress

from .support import PASSWORD, SECRET, MovableClock, native_client
from .test_foreign_hashes import PASSWORD as FOREIGN_PASSWORD
from .test_transfer import file_of, user
from .test_transfer_sources import DERP, DJANGO, FLASK_SECURITY, NO_MAIL, check_derp

ADA = "ada@example.com"
CHECKOUT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DERP_AUTH_LITE_SECRET", raising=False)


def run(database, *arguments, ends=0, stdin=None):
    command = ["--database", database, *arguments]
    outcome = CliRunner().invoke(root, command, input=stdin, catch_exceptions=False)
    assert outcome.exit_code == ends, outcome.output
    assert "Traceback" not in outcome.output
    return outcome


def test_accounts_move_to_postgresql_without_a_secret_and_sign_in_there(tmp_path, postgres_url):
    with native_client(tmp_path / "app.db", MovableClock()) as auth:
        ada = auth.sign_up(email=ADA, password=PASSWORD).user
        auth.create_org(name="Engines", slug="engines", creator_id=ada.id)
    assert run("app.db", "export", "a.jsonl").stdout == "3 records in a.jsonl\n"
    with native_client(tmp_path / "app.db", MovableClock()) as auth:
        assert auth.list_events_by_cursor().data[0].action == "accounts_exported"
    if os.name == "posix":
        assert stat.S_IMODE(Path("a.jsonl").stat().st_mode) == 0o600
    dry = run(postgres_url, "import", "a.jsonl", "--dry-run").stdout
    assert dry.startswith("Nothing was changed.")
    assert "user     1 new\norg      1 new\nmember   1 new\n" in dry
    assert run(postgres_url, "import", "a.jsonl").stdout == dry.partition("\n")[2]
    with native_client(postgres_url, MovableClock()) as auth:
        event = auth.list_events_by_cursor().data[0]
        assert event.action == "accounts_imported"
        assert event.details["new"] == {"user": 1, "org": 1, "member": 1}
        assert auth.sign_in_with_password(ADA, PASSWORD).user.id == ada.id
    assert run(postgres_url, "export", "-").stdout.count("\n") == 5


def test_a_file_that_is_there_is_replaced_when_the_answer_is_yes():
    run("app.db", "init")
    Path("a.jsonl").write_text("dear")
    run("app.db", "export", "a.jsonl", stdin="n\n", ends=1)
    assert Path("a.jsonl").read_text() == "dear"
    run("app.db", "export", "a.jsonl", stdin="y\n")
    run("app.db", "export", "a.jsonl", "--yes")
    assert run("app.db", "import", "a.jsonl").stdout == "no records\n"


def test_a_folder_that_is_not_there_is_one_line():
    run("app.db", "init")
    assert "cannot be written" in run("app.db", "export", "none/a.jsonl", ends=4).stderr
    assert "cannot be read" in run("app.db", "import", "none.jsonl", ends=2).stderr


@pytest.mark.parametrize("content", ["[]", '[{"model": "shop.cart", "fields": {}}]', "hello"])
def test_a_dump_without_users_is_an_error(content):
    run("app.db", "init")
    Path("dump.json").write_text(content)
    refused = run("app.db", "import", "dump.json", "--from", "django", ends=1)
    assert "dump.json has no users in it that --from django knows" in refused.stderr


@pytest.mark.parametrize("system", ["native", "django", "flask"])
def test_a_database_in_place_of_what_was_exported_is_one_line(system):
    run("app.db", "init")
    refused = run("app.db", "import", "app.db", "--from", system, ends=2)
    assert "Error: app.db is a database; import reads what was exported" in refused.stderr


def test_a_pipe_leads_from_one_database_into_another():
    run("one.db", "init")
    run("two.db", "init")
    run("one.db", "import", "-", stdin=file_of(user(1)))
    piped = run("one.db", "export", "-").stdout
    assert "1 new" in run("two.db", "import", "-", stdin=piped.encode()).stdout


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such names of pipes")
@pytest.mark.parametrize("system", ["native", "django"])
def test_a_pipe_has_a_name_where_a_shell_makes_one(system):
    """As in ``import <(gunzip -c accounts.jsonl.gz)``: nobody can go back in it."""
    run("app.db", "init")
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as stream:
            stream.write(file_of(user(1)) if system == "native" else b"[]")
        arguments = ("import", f"/dev/fd/{reading}", "--from", system)
        if system == "native":
            assert run("app.db", *arguments).stdout == "user     1 new\n"
        else:
            assert "name a file" in run("app.db", *arguments, ends=2).output
    finally:
        os.close(reading)


def test_a_file_that_is_wrong_is_one_line_that_names_the_place():
    run("app.db", "init")
    Path("a.jsonl").write_bytes(file_of(user(1), user(2, role=7)))
    refused = run("app.db", "import", "a.jsonl", ends=1)
    assert refused.stderr == "Error: line 3: role must be str, not int\n"
    assert "no records" in run("app.db", "import", "-", stdin=file_of()).stdout


def test_differences_are_shown_and_decided_on():
    run("app.db", "init")
    run("app.db", "import", "-", stdin=file_of(user(1)))
    changed = file_of(user(1, first_name="Eve"))
    refused = run("app.db", "import", "-", stdin=changed, ends=1).stderr
    assert "1 record differs from what is here: --existing keep" in refused
    shown = run("app.db", "import", "-", "--dry-run", stdin=changed).stdout
    assert "user     1 changed\ndiffers: line 2: user user1@example.com: first_name\n" in shown
    kept = run("app.db", "import", "-", "--existing", "keep", stdin=changed).stdout
    assert "1 kept" in kept
    line = run("app.db", "import", "-", "--dry-run", "--json", stdin=changed).stdout
    assert json.loads(line)["changed"] == {"user": 1}
    updated = run("app.db", "import", "-", "--existing", "update", stdin=changed).stdout
    assert "1 changed" in updated


def test_a_dump_of_django_is_taken_and_who_has_no_address_is_named():
    run("app.db", "init")
    Path("dump.json").write_text(json.dumps([*DJANGO, NO_MAIL]))
    run("app.db", "import", "dump.json", "--from", "django", ends=1)
    shown = run("app.db", "import", "dump.json", "--from", "django", "--skip-unusable").stdout
    assert "user     2 new" in shown
    assert "left out, without a usable address: 1 (record 4)" in shown


def test_a_table_of_a_flask_application_is_taken_as_csv():
    run("app.db", "init")
    Path("users.csv").write_text("id,email,password\n1,ada@example.com,\n2,b@example.com,\n")
    assert "2 new" in run("app.db", "import", "users.csv", "--from", "flask").stdout


def test_flask_securitys_salt_comes_from_the_environment_or_is_asked_for(monkeypatch):
    run("app.db", "init")
    hashed = FLASK_SECURITY["argon2"]
    Path("users.csv").write_text(f'id,email,password\n1,ada@example.com,"{hashed}"\n')
    command = ("import", "users.csv", "--from", "flask", "--flask-security")
    asked = run("app.db", *command, "--dry-run", stdin="salt of the tests\n")
    assert "salt of the tests" not in asked.output
    monkeypatch.setenv("SECURITY_PASSWORD_SALT", "salt of the tests")
    assert "1 new" in run("app.db", *command).stdout
    with native_client("app.db", MovableClock()) as auth:
        assert auth.sign_in_with_password("ada@example.com", FOREIGN_PASSWORD)
    run("app.db", "import", "users.csv", "--flask-security", ends=2)


def test_derp_is_read_from_its_database_or_a_dump(tmp_path, auth, database, new_postgres_url):
    import psycopg

    from .test_transfer_sources import _make_tables

    with psycopg.connect(new_postgres_url) as connection:
        _make_tables(connection.execute, "%s")
    assert "2 new" in run(database, "import", new_postgres_url, "--from", "derp").stdout
    check_derp(auth)
    Path("derp.json").write_text(json.dumps(DERP))
    differing = run(database, "import", "derp.json", "--from", "derp", "--dry-run").stdout
    assert "password_hash" in differing, "the sign-in above has renewed it"


def test_an_id_in_a_file_does_not_steer_the_terminal():
    """OWASP ASVS 5.0, 16.4.1."""
    run("app.db", "init")
    with closing(sqlite3.connect("evil.db")) as evil, evil:
        for table, rows in DERP.items():
            evil.execute(f"CREATE TABLE {table} ({', '.join(rows[0])})")
        evil.execute("INSERT INTO users (id) VALUES (?)", ("\x1b]0;evil\x07\x1b[2J",))
    arguments = ("import", "evil.db", "--from", "derp")
    outcomes = [run("app.db", *arguments, ends=1), run("app.db", *arguments, "--skip-unusable")]
    for outcome in outcomes:
        assert "users \\u001b]0;evil\\u0007\\u001b[2J" in outcome.output
        assert not set(outcome.output) & set("\x1b\x07")


def test_only_derp_is_read_from_a_database():
    run("app.db", "init")
    run("app.db", "import", "postgresql://x/y", "--from", "django", ends=2)


def test_a_database_of_something_else_stays_as_it_is(tmp_path):
    with closing(sqlite3.connect("other.db")) as other:
        other.execute("CREATE TABLE notes (text)")
        other.commit()
    before = Path("other.db").read_bytes()
    for command in (["users", "list"], ["export", "-"], ["doctor"], ["purge"]):
        told = run("other.db", *command, ends=4).stderr
        assert told.startswith("Error: other.db holds no accounts: derp-auth-lite init makes")
    assert Path("other.db").read_bytes() == before
    assert [each.name for each in Path().iterdir()] == ["other.db"]
    run("other.db", "init")
    assert run("other.db", "users", "list").exit_code == 0


def test_an_old_database_gets_its_tables_first(tmp_path):
    Path("empty.db").touch()
    assert "1 new" in run("empty.db", "import", "-", stdin=file_of(user(1))).stdout
    with native_client("empty.db", MovableClock()) as auth:
        assert auth.sign_in_with_password("user1@example.com", PASSWORD)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no pseudo-terminals")
def test_a_terminal_sees_how_far_it_is_after_a_second():
    import pty

    code = (
        "import time\nfrom derp_auth_lite.cli.transfer import _progress\n"
        "with _progress('Importing', 10) as moved:\n"
        "    moved(1); time.sleep(1.2); moved(5); time.sleep(0.3); moved(6)\n"
    )
    main, terminal = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "TERM": "xterm", "COLUMNS": "80"}
    subprocess.run([sys.executable, "-c", code], stderr=terminal, env=environment, check=True)
    os.close(terminal)
    shown = os.read(main, 65536).decode()
    os.close(main)
    assert "Importing" in shown
    assert "50%" in shown


def test_elsewhere_nothing_is_shown(capsys):
    with _progress("Importing", 10) as moved:
        moved(1)
    assert capsys.readouterr().err == ""


def test_the_secret_of_a_server_is_needed_for_what_signs_alone(postgres_url, monkeypatch):
    run(postgres_url, "migrate")
    run(postgres_url, "export", "-")
    run(postgres_url, "users", "list", ends=2)
    monkeypatch.setenv("DERP_AUTH_LITE_SECRET", SECRET)
    run(postgres_url, "users", "list")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("users", [0, 50])
def test_what_cannot_be_written_is_one_line_of_an_error(tmp_path, users, unbuffered):
    """Whether it fails as it is written, or only when the command has ended."""
    run("app.db", "init")
    with native_client(tmp_path / "app.db", MovableClock()) as auth:
        for n in range(users):
            auth.sign_up(email=f"u{n}@example.com", password=PASSWORD)
    command = [sys.executable, "-m", "derp_auth_lite", "--database", "app.db", "export", "-"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, env=environment, check=False
        )
    assert ended.returncode == 4
    assert ended.stderr.decode() == "Error: Reading or writing failed: No space left on device\n"
