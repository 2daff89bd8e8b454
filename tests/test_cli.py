"""The commands: what they do, how they end, and what they never show; on both databases."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
import uuid
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import click
import pytest
from click.testing import CliRunner

from derp_auth_lite import open_auth
from derp_auth_lite._clock import utc_now
from derp_auth_lite.cli import main
from derp_auth_lite.cli._app import root
from derp_auth_lite.cli._output import print_pairs, print_table
from derp_auth_lite.config import PasswordConfig
from derp_auth_lite.exceptions import EmailSendError, InvalidCredentialsError

from .support import PASSWORD, SECRET, MovableClock, Request

ADA = "ada@example.com"
NEW = "a wholly other set of words"
CHECKOUT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    for name in ("DATABASE", "CONFIG", "KV"):
        monkeypatch.delenv(f"DERP_AUTH_LITE_{name}", raising=False)
    monkeypatch.setenv("DERP_AUTH_LITE_SECRET", SECRET)


@pytest.fixture
def clock():
    """The present time, which is what commands go by."""
    return MovableClock(utc_now())


@pytest.fixture
def run(database, auth):
    """Run a command on the test's database; its output, and that it ended as expected."""

    def invoke(*arguments, ends=0, stdin=None):
        command = ["--database", database, *arguments]
        outcome = CliRunner().invoke(root, command, input=stdin, catch_exceptions=False)
        assert outcome.exit_code == ends, outcome.output
        if ends:
            assert outcome.stderr.strip()
            assert "Traceback" not in outcome.output
        return outcome

    return invoke


@pytest.fixture
def ada(auth):
    return auth.sign_up(email=ADA, password=PASSWORD, first_name="Ada")


class TestUsers:
    def test_one_is_made_with_a_password_from_stdin(self, run, auth):
        made = run(
            "users", "create", ADA, "--password-stdin", "--confirmed", "--role", "admin",
            "--superuser", "--first-name", "Ada", stdin=f"{PASSWORD}\n",
        )  # fmt: skip
        user = auth.find_user(ADA)
        assert (user.role, user.is_superuser, user.first_name) == ("admin", True, "Ada")
        assert user.email_confirmed_at is not None
        assert user.id in made.stdout
        assert PASSWORD not in made.output
        assert auth.sign_in_with_password(ADA, PASSWORD)

    def test_a_password_is_typed_twice_and_not_shown(self, run, auth):
        made = run("users", "create", ADA, stdin=f"{PASSWORD}\n{PASSWORD}\n")
        assert PASSWORD not in made.output
        assert auth.sign_in_with_password(ADA, PASSWORD)
        assert auth.find_user(ADA).email_confirmed_at is None

    def test_one_without_a_password_is_made_on_request_alone(self, run, auth):
        record = json.loads(run("users", "create", ADA, "--no-password", "--json").stdout)
        assert record["id"] == auth.find_user(ADA).id
        run("users", "create", "b@example.com", "--no-password", "--password-stdin", ends=2)

    @pytest.mark.parametrize(
        ("email", "password", "message"),
        [
            (ADA, PASSWORD, "already exists"),
            ("not an address", PASSWORD, "not valid"),
            ("b@example.com", "short", "at least 8"),
            ("b@example.com", "", "blank"),
        ],
    )
    def test_what_the_library_refuses_is_one_line_and_an_exit_code(
        self, run, ada, auth, email, password, message
    ):
        refused = run("users", "create", email, "--password-stdin", stdin=f"{password}\n", ends=1)
        assert re.fullmatch(rf"Error: .*{message}.*\n", refused.stderr)
        assert auth.count_users() == 1

    def test_they_are_listed_for_people_and_for_programs(self, run, auth):
        for number in range(3):
            auth.create_user(email=f"user{number}@example.com")
        table = run("users", "list", "--limit", "2")
        assert len(table.stdout.splitlines()) == 4
        assert table.stderr == "2 of 3\n"
        lines = run("users", "list", "--json", "--all").stdout.splitlines()
        assert {json.loads(line)["email"] for line in lines} == {
            f"user{number}@example.com" for number in range(3)
        }
        assert len(run("users", "list", "--json", "--offset", "2").stdout.splitlines()) == 1

    def test_the_table_tells_disabled_unconfirmed_and_powerful_accounts(self, run, auth):
        auth.create_user(email=ADA, confirmed=True)
        evil = auth.create_user(email="eve@example.com", is_superuser=True)
        auth.update_user(user_id=evil.id, is_active=False)
        table = run("users", "list").stdout
        assert "eve@example.com  default  disabled, unconfirmed, superuser" in table
        assert re.search(f"{ADA}  default {{20,}}[0-9]", table)

    def test_one_is_shown_by_address_and_by_id_without_a_hash(self, run, ada):
        for who in (ADA, ADA.upper(), ada.user.id):
            shown = run("users", "show", who).stdout
            assert re.search(r"^sessions +1$", shown, re.MULTILINE)
            assert "argon2" not in shown
        record = json.loads(run("users", "show", ADA, "--json").stdout)
        assert record["id"] == ada.user.id
        assert record["created_at"].endswith("Z")

    @pytest.mark.parametrize("who", ["nobody@example.com", str(uuid.UUID(int=1)), "x", "@"])
    @pytest.mark.parametrize("command", ["show", "disable", "enable", "delete", "set-password"])
    def test_an_unknown_one_ends_with_3(self, run, who, command):
        assert run("users", command, who, ends=3).stderr == "Error: User not found\n"

    def test_a_new_password_ends_the_sessions(self, run, auth, ada):
        run("users", "set-password", ADA, "--password-stdin", stdin=f"{NEW}\n")
        assert auth.authenticate(Request(ada.tokens.access_token)) is None
        assert auth.sign_in_with_password(ADA, NEW)
        run("users", "set-password", ADA, "--password-stdin", stdin="short\n", ends=1)
        assert auth.sign_in_with_password(ADA, NEW)

    def test_a_notice_of_it_waits_for_the_application_to_send_it(self, run, auth, ada):
        run("users", "set-password", ADA, "--password-stdin", stdin=f"{NEW}\n")
        auth.deliver_mail()
        assert [mail.kind for mail in auth.email_client.sent] == ["password_changed"]

    def test_one_is_disabled_and_enabled(self, run, auth, ada):
        run("users", "disable", ADA)
        assert auth.authenticate(Request(ada.tokens.access_token)) is None
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_password(ADA, PASSWORD)
        run("users", "enable", ADA)
        assert auth.sign_in_with_password(ADA, PASSWORD)

    def test_one_gets_another_address_name_and_standing(self, run, auth, ada):
        new = "ada@example.org"
        run("users", "update", ADA, "--email", new, "--superuser", "--last-name", "Lovelace")
        user = auth.find_user(new)
        assert (user.id, user.is_superuser) == (ada.user.id, True)
        assert (user.first_name, user.last_name) == ("Ada", "Lovelace")
        run("users", "update", new, "--no-superuser")
        assert not auth.find_user(new).is_superuser
        assert "--email" in run("users", "update", new, ends=2).stderr
        run("users", "update", new, "--email", "none", ends=1)

    def test_one_gets_a_role(self, run, auth, ada):
        run("users", "set-role", ADA, "editor")
        assert auth.get_user(ada.user.id).role == "editor"
        run("users", "set-role", ADA, " ", ends=1)

    def test_one_is_deleted_when_the_answer_is_yes(self, run, auth, ada):
        for answer in ("n\n", "\n", ""):
            run("users", "delete", ADA, stdin=answer, ends=1)
        assert auth.count_users() == 1
        assert "Delete ada@example.com" in run("users", "delete", ADA, stdin="y\n").stderr
        assert auth.count_users() == 0

    def test_the_last_owner_of_an_organization_stays(self, run, auth, ada):
        auth.create_org(name="Engines", slug="engines", creator_id=ada.user.id)
        assert "owner" in run("users", "delete", ADA, "--yes", ends=1).stderr
        assert auth.count_users() == 1


class TestSessions:
    def test_they_are_listed_and_ended(self, run, auth, ada):
        auth.sign_in_with_password(ADA, PASSWORD, user_agent="Agent")
        lines = run("sessions", "list", ADA, "--json").stdout.splitlines()
        assert len(lines) == 2
        first = json.loads(lines[0])
        assert first["session_id"] in run("sessions", "list").stdout
        run("sessions", "revoke", first["session_id"], "--yes")
        assert len(auth.list_sessions()) == 1
        run("sessions", "revoke", first["session_id"], "--yes", ends=3)
        run("sessions", "revoke", "--user", ADA, stdin="n\n", ends=1)
        assert len(auth.list_sessions()) == 1
        run("sessions", "revoke", "--user", ADA, stdin="y\n")
        assert auth.list_sessions() == []

    def test_which_ones_has_to_be_said(self, run, ada):
        run("sessions", "revoke", ends=2)
        run("sessions", "revoke", "some-id", "--user", ADA, ends=2)


class TestOrgs:
    @pytest.fixture
    def engines(self, auth, ada):
        auth.create_user(email="charles@example.com")
        return auth.create_org(name="Engines", slug="engines", creator_id=ada.user.id)

    def test_they_are_listed_and_shown(self, run, engines):
        assert "engines" in run("orgs", "list").stdout
        assert run("orgs", "list", "--user", "charles@example.com", "--json").stdout == ""
        assert json.loads(run("orgs", "show", "engines", "--json").stdout)["members"] == 1
        assert engines.id in run("orgs", "show", "engines").stdout
        run("orgs", "show", "none", ends=3)

    def test_one_is_made_for_an_owner(self, run, auth, ada):
        made = run("orgs", "create", "engines", "--owner", ADA, "--name", "Analytical Engines")
        assert made.stdout == f"Made engines, owned by {ADA}\n"
        assert auth.get_org(slug="engines").name == "Analytical Engines"
        assert auth.get_org_member(slug="engines", user_id=ada.user.id).role == "owner"
        record = json.loads(run("orgs", "create", "two", "--owner", ada.user.id, "--json").stdout)
        assert (record["slug"], record["name"]) == ("two", "two")

    @pytest.mark.parametrize(
        ("slug", "owner", "ends", "message"),
        [
            ("engines", ADA, 1, "slug"),
            ("No Slug", ADA, 1, "slug"),
            ("new", "nobody@example.com", 3, "User not found"),
        ],
    )
    def test_one_that_cannot_be_is_not_made(self, run, auth, engines, slug, owner, ends, message):
        refused = run("orgs", "create", slug, "--owner", owner, ends=ends)
        assert re.fullmatch(f"Error: .*{message}.*\n", refused.stderr)
        assert len(auth.list_orgs()) == 1

    def test_one_without_an_owner_is_not_understood(self, run):
        assert "--owner" in run("orgs", "create", "engines", ends=2).stderr

    def test_one_gets_another_name_and_slug(self, run, auth, engines):
        run("orgs", "update", "engines", "--name", "Difference Engines", "--slug", "difference")
        assert auth.get_org(slug="difference").name == "Difference Engines"
        run("orgs", "update", "difference", ends=2)
        run("orgs", "update", "engines", "--name", "Gone", ends=3)

    def test_one_is_deleted_when_the_answer_is_yes(self, run, auth, engines):
        asked = run("orgs", "delete", "engines", stdin="n\n", ends=1)
        assert "Delete engines (1 member) for good?" in asked.stderr
        assert len(auth.list_orgs()) == 1
        run("orgs", "delete", "engines", "--yes")
        assert auth.list_orgs() == []
        assert auth.count_users() == 2
        run("orgs", "delete", "engines", "--yes", ends=3)

    def test_a_member_gets_another_role_and_an_owner_stays(self, run, auth, engines):
        charles = "charles@example.com"
        run("orgs", "set-role", "engines", charles, "owner", ends=3)
        run("orgs", "set-role", "engines", ADA, "member", ends=1)
        run("orgs", "add", "engines", charles)
        assert run("orgs", "set-role", "engines", charles, "owner").stdout == (
            f"{charles} is owner in engines\n"
        )
        run("orgs", "set-role", "engines", ADA, "member")

    def test_nobody_is_asked_about_a_membership_that_is_none(self, run, engines):
        refused = run("orgs", "remove", "engines", "charles@example.com", stdin="", ends=3)
        assert refused.stderr == "Error: Organization member not found\n"

    def test_members_come_and_go_and_an_owner_stays(self, run, engines):
        run("orgs", "add", "engines", "charles@example.com", "--role", "admin")
        run("orgs", "add", "engines", "charles@example.com", ends=1)
        table = run("orgs", "members", "engines").stdout
        assert re.search(r"charles@example\.com +admin", table)
        assert len(run("orgs", "members", "engines", "--json").stdout.splitlines()) == 2
        run("orgs", "remove", "engines", ADA, "--yes", ends=1)
        run("orgs", "remove", "engines", "charles@example.com", "--yes")
        run("orgs", "remove", "engines", "charles@example.com", "--yes", ends=3)


class TestMailsAndEvents:
    @pytest.fixture
    def given_up(self, auth, ada, clock):
        """A mail that was given up."""

        def refuse(message, *, sender, recipient):
            raise EmailSendError("mailbox unavailable", permanent=True)

        auth.email_client._transport.send = refuse
        auth.request_password_recovery(email=ADA, recovery_url="https://app.test/reset")
        auth.deliver_mail()
        (mail,) = auth.list_undelivered_mail()
        return mail

    def test_mails_that_were_given_up_are_listed_shown_and_tried_again(self, run, auth, given_up):
        assert given_up.id in run("outbox", "list").stdout
        assert json.loads(run("outbox", "list", "--json").stdout)["id"] == given_up.id
        assert "recovery" in run("outbox", "show", given_up.id).stdout
        assert json.loads(run("outbox", "show", given_up.id, "--json").stdout)["email"] == ADA
        run("outbox", "retry", ends=2)
        run("outbox", "retry", given_up.id)
        assert auth.list_undelivered_mail() == []
        run("outbox", "retry", given_up.id, ends=3)
        run("outbox", "show", given_up.id, ends=3)
        assert run("outbox", "retry", "--all").stdout == "0 to be sent\n"

    def test_all_of_them_are_tried_again(self, run, auth, given_up):
        assert run("outbox", "retry", "--all").stdout == "1 to be sent\n"
        assert auth.list_undelivered_mail() == []

    def test_events_are_listed(self, run, auth, ada):
        gone = auth.create_user(email="b@example.com")
        auth.delete_user(gone.id)
        table = run("events").stdout
        assert re.search(rf"sign_up .* {ADA}", table)
        assert re.search(rf"user_created .* {gone.id}", table)
        (line,) = run("events", "--user", ADA, "--json").stdout.splitlines()
        assert json.loads(line)["action"] == "sign_up"


class TestChecks:
    def test_an_account_that_may_sign_in_is_explained_with_0(self, run, ada):
        assert "may_sign_in" in run("explain", ADA).stdout

    def test_one_that_may_not_with_1(self, database, run, auth, ada):
        auth.update_user(user_id=ada.user.id, is_active=False)
        command = ["--database", database, "explain", ADA, "--json"]
        outcome = CliRunner().invoke(root, command)
        assert outcome.exit_code == 1
        assert json.loads(outcome.stdout)["code"] == "disabled"

    def test_the_doctor_ends_with_1_where_something_is_wrong(self, tmp_path):
        open_auth(tmp_path / "app.db").disconnect()
        assert CliRunner().invoke(root, ["--database", "app.db", "doctor"]).exit_code == 0
        (tmp_path / "app.db").chmod(0o644)
        outcome = CliRunner().invoke(root, ["--database", "app.db", "doctor"])
        assert outcome.exit_code == 1
        assert "readable_by_others" in outcome.stdout

    def test_what_has_expired_is_purged(self, run, ada, clock):
        assert re.fullmatch(r"\d+ removed\n", run("purge").stdout)

    def test_tables_that_are_up_to_date_stay(self, run):
        assert run("migrate").stdout == "The tables are up to date\n"


class TestWhichDatabase:
    def test_a_misspelt_path_is_an_error_and_makes_nothing(self, tmp_path):
        for command in (["users", "list"], ["doctor"], ["migrate"], ["keys", "rotate", "--yes"]):
            outcome = CliRunner().invoke(root, ["--database", "ap.db", *command])
            assert outcome.exit_code in {2, 4}, outcome.output
            assert outcome.stderr.startswith("Error: ")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("command", [["init"], ["users", "list"]])
    @pytest.mark.parametrize(("name", "ends"), [("here", "is a folder"), ("none/app.db", "none")])
    def test_a_folder_is_no_database_and_none_is_made(self, tmp_path, command, name, ends):
        (tmp_path / "here").mkdir()
        outcome = CliRunner().invoke(root, ["--database", name, *command])
        assert outcome.exit_code == 4
        assert ends in outcome.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["here"]

    def test_none_at_all_is_an_error(self):
        outcome = CliRunner().invoke(root, ["users", "list"])
        assert outcome.exit_code == 2
        assert "DERP_AUTH_LITE_DATABASE" in outcome.stderr

    @pytest.mark.parametrize("name", [":memory:", "sqlite:///", "mysql://localhost/app"])
    def test_one_that_cannot_be_is_an_error(self, name):
        assert CliRunner().invoke(root, ["--database", name, "users", "list"]).exit_code == 2

    def test_the_environment_may_name_it(self, monkeypatch, tmp_path):
        monkeypatch.setenv("DERP_AUTH_LITE_DATABASE", "app.db")
        assert CliRunner().invoke(root, ["init"]).exit_code == 0
        assert CliRunner().invoke(root, ["users", "list"]).exit_code == 0

    def test_a_configuration_may_name_it_and_bring_the_secret(self, monkeypatch, tmp_path):
        monkeypatch.delenv("DERP_AUTH_LITE_SECRET")
        Path("derp.toml").write_text(
            f'[database]\ndb_url = "sqlite:///app.db"\nschema_path = "x"\n'
            f'[auth.native.jwt]\nsecret = "{SECRET}"\n'
        )
        open_auth("app.db", secret=SECRET).disconnect()
        outcome = CliRunner().invoke(root, ["--config", "derp.toml", "users", "list"])
        assert outcome.exit_code == 0, outcome.output
        assert outcome.stderr.count("schema_path") == 1
        assert not Path("app.db.key").exists()
        rotated = CliRunner().invoke(root, ["--config", "derp.toml", "keys", "rotate", "--yes"])
        assert rotated.exit_code == 2
        assert "previous_secrets" in rotated.stderr

    def test_the_next_command_is_named_with_the_same_options(self):
        made = CliRunner().invoke(root, ["--database", "my app.db", "init"])
        assert "Next: derp-auth-lite --database 'my app.db' users create" in made.stdout
        Path("derp.toml").write_text(
            f'[database]\ndb_url = "sqlite:///b.db"\n[auth.native.jwt]\nsecret = "{SECRET}"\n'
        )
        made = CliRunner().invoke(root, ["--config", "derp.toml", "init"])
        assert "Next: derp-auth-lite --config derp.toml users create" in made.stdout

    def test_a_configuration_of_a_hosted_backend_is_refused(self):
        Path("derp.toml").write_text('[auth.workos]\napi_key = "k"\nclient_id = "c"\n')
        command = ["--config", "derp.toml", "--database", "app.db", "users", "list"]
        assert CliRunner().invoke(root, command).exit_code == 2

    def test_a_server_without_its_secret_is_an_error(self, postgres_url, monkeypatch):
        monkeypatch.delenv("DERP_AUTH_LITE_SECRET")
        outcome = CliRunner().invoke(root, ["--database", postgres_url, "users", "list"])
        assert outcome.exit_code == 2
        assert "DERP_AUTH_LITE_SECRET" in outcome.stderr
        assert postgres_url not in outcome.output

    def test_a_server_that_is_down_ends_with_4(self):
        url = "postgresql://user:hush@127.0.0.1:1/app"
        outcome = CliRunner().invoke(root, ["--database", url, "users", "list"])
        assert outcome.exit_code == 4
        assert outcome.stderr == (
            "Error: The database server cannot be reached: does it run, and are host and port "
            "right?\n"
        )

    @pytest.mark.parametrize(
        ("part", "message"),
        [
            ({"path": "/none_of_this_name"}, "has no such database"),
            ({"netloc": "nobody:hush@"}, "refuses the user or the password"),
        ],
    )
    def test_what_a_server_refuses_is_told_apart(self, postgres_url, part, message):
        url = urlsplit(postgres_url)
        host = url.netloc.rpartition("@")[2]
        part = {name: value + (host if name == "netloc" else "") for name, value in part.items()}
        command = ["--database", urlunsplit(url._replace(**part)), "users", "list"]
        outcome = CliRunner().invoke(root, command)
        assert outcome.exit_code == 4
        assert re.fullmatch(f"Error: The database server {message}\n", outcome.stderr)

    def test_tables_are_made_on_a_server(self, new_postgres_url):
        made = CliRunner().invoke(root, ["--database", new_postgres_url, "init"])
        assert made.stdout == "Applied: 0001_initial\n"
        listed = CliRunner().invoke(root, ["--database", new_postgres_url, "users", "list"])
        assert listed.exit_code == 0

    def test_an_application_with_a_secret_of_its_own_gets_no_key_file(self, monkeypatch):
        open_auth("app.db", secret=SECRET).disconnect()
        monkeypatch.delenv("DERP_AUTH_LITE_SECRET")
        assert CliRunner().invoke(root, ["--database", "app.db", "users", "list"]).exit_code == 0
        assert not Path("app.db.key").exists()

    def test_waiting_mails_are_left_to_the_application(self, tmp_path):
        """An operator's look must not send them elsewhere than the application's mail server."""
        with open_auth("app.db", mail_worker=False, password=PasswordConfig()) as auth:
            auth.create_user(email=ADA)
            auth.request_password_recovery(email=ADA, recovery_url="https://app.test/reset")
        assert CliRunner().invoke(root, ["--database", "app.db", "users", "list"]).exit_code == 0
        assert not list(tmp_path.glob("app.db.mail/*"))
        with open_auth("app.db", mail_worker=False) as auth:
            assert auth.deliver_mail() == 1


class TestKeys:
    @pytest.fixture(autouse=True)
    def _made(self, monkeypatch):
        monkeypatch.delenv("DERP_AUTH_LITE_SECRET")

    def rotate(self, *arguments):
        outcome = CliRunner().invoke(root, ["--database", "app.db", "keys", "rotate", *arguments])
        for key in Path("app.db.key").read_text().split():
            assert key not in outcome.output
        return outcome.exit_code

    def test_sessions_and_mailed_links_go_on_after_a_rotation(self):
        cheap = PasswordConfig(hash_profile="cheapest")
        with open_auth("app.db", password=cheap, mail_worker=False) as auth:
            tokens = auth.sign_up(email=ADA, password=PASSWORD).tokens
            auth.request_password_recovery(email=ADA, recovery_url="https://app.test/reset")
            auth.deliver_mail()
            link = auth.email_client.sent[-1].token
        assert self.rotate("--yes") == 0
        with open_auth("app.db", password=cheap) as auth:
            assert auth.authenticate(Request(tokens.access_token)) is not None
            actions = [event.action for event in auth.list_events_by_cursor(limit=20).data]
            assert "keys_rotated" in actions
            assert auth.reset_password(link, NEW)

    def test_keeping_none_signs_everybody_out(self):
        cheap = PasswordConfig(hash_profile="cheapest")
        with open_auth("app.db", password=cheap) as auth:
            tokens = auth.sign_up(email=ADA, password=PASSWORD).tokens
        assert self.rotate("--keep", "0", "--yes") == 0
        with open_auth("app.db", password=cheap) as auth:
            assert auth.authenticate(Request(tokens.access_token)) is None

    def test_without_a_yes_nothing_changes(self):
        open_auth("app.db").disconnect()
        before = Path("app.db.key").read_text()
        assert self.rotate() == 1
        assert Path("app.db.key").read_text() == before

    def start(self):
        command = [sys.executable, "-m", "derp_auth_lite", "--database", "app.db"]
        command += ["keys", "rotate", "--yes"]
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    def test_one_rotation_waits_for_another(self):
        open_auth("app.db").disconnect()
        before = Path("app.db.key").read_text()
        with closing(sqlite3.connect("app.db", isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            with self.start() as process:
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(1.5)
                assert Path("app.db.key").read_text() == before
                database.execute("ROLLBACK")
                assert process.wait(60) == 0
        assert Path("app.db.key").read_text() != before

    def test_many_rotations_at_once_lose_no_key(self):
        open_auth("app.db").disconnect()
        running = [self.start() for _ in range(3)]
        assert [process.wait(60) for process in running] == [0, 0, 0]
        assert len(Path("app.db.key").read_text().split()) == 4


def every_command(group=root, path=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))
        else:
            yield " ".join((*path, name))


class TestWithoutATerminal:
    """What a job or a container starts: nobody answers, and nothing can be typed unseen."""

    def start(self, *arguments):
        done = subprocess.run(
            [sys.executable, "-m", "derp_auth_lite", "--database", "app.db", *arguments],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
        return done.returncode, done.stderr

    def test_a_question_names_the_option_that_answers_it(self):
        with open_auth("app.db") as auth:
            auth.create_user(email=ADA)
        assert self.start("users", "delete", ADA) == (
            1,
            f"Delete {ADA} for good? [y/N]: \nError: Nobody is there to answer: --yes does\n",
        )

    @pytest.mark.skipif(sys.platform == "win32", reason="a console of its own is always there")
    def test_a_password_is_refused_rather_than_shown(self):
        open_auth("app.db").disconnect()
        code, message = self.start("users", "create", ADA)
        assert code == 2
        assert re.fullmatch("Error: Password: .* --password-stdin\n", message)


class TestHelp:
    @pytest.mark.parametrize("name", sorted(every_command()))
    def test_every_command_has_a_short_line_and_an_example(self, name):
        shown = CliRunner().invoke(root, [*name.split(), "--help"]).stdout
        assert "Example: " in shown
        (command,) = re.findall(r"Example: .*", " ".join(shown.split()))
        assert "derp-auth-lite" in command
        found = root
        for part in name.split():
            found = found.commands[part]
        assert len(found.get_short_help_str(200)) <= 60

    def test_no_option_takes_a_password(self):
        for name in every_command():
            shown = CliRunner().invoke(root, [*name.split(), "--help"]).stdout
            assert not re.search(r"--[a-z-]*(password|secret|token) [A-Z]", shown)

    @pytest.mark.parametrize(
        ("command", "option"), [("users list", "--database"), ("doctor", "--config")]
    )
    def test_an_option_in_the_wrong_place_has_the_right_one_named(self, command, option):
        outcome = CliRunner().invoke(
            root, [*command.split(), option, "x"], prog_name="derp-auth-lite"
        )
        assert outcome.exit_code == 2
        assert outcome.stderr.endswith(
            f"{option} comes before the command: derp-auth-lite {option} … {command}\n"
        )
        other = CliRunner().invoke(root, [*command.split(), "--dance"])
        assert "No such option" in other.stderr

    def test_an_unknown_command_is_a_usage_error(self, capsys):
        assert main(["dance"]) == 2
        assert "No such command" in capsys.readouterr().err

    def test_help_loads_no_heavy_package_and_is_quick(self):
        code = (
            "import sys; from derp_auth_lite.cli import main; main(['users', 'list', '--help']);"
            "print(*(m for m in ('peewee', 'rich', 'jinja2', 'requests') if m in sys.modules))"
        )
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == ""
        assert time.perf_counter() - started < 5

    def test_the_shell_is_told_how_to_complete(self):
        environment = {**os.environ, "_DERP_AUTH_LITE_COMPLETE": "bash_source"}
        done = subprocess.run(
            [sys.executable, "-m", "derp_auth_lite"],
            cwd=CHECKOUT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "complete -o" in done.stdout


class TestOutput:
    def test_what_a_stranger_typed_does_not_steer_the_terminal(self, capsys):
        """OWASP ASVS 5.0, 16.4.1."""
        evil = "\x1b[2J\x07[red]\u202eabc\r\n"
        print_table(("name",), [(evil,)])
        print_pairs({"name": evil, "empty": None})
        shown = capsys.readouterr().out
        assert not set(shown) & set("\x1b\x07\r\u202e")
        assert shown.count("\\u001b[2J\\u0007[red]\\u202eabc") == 2

    def test_nothing_is_cut_where_the_output_is_no_terminal(self, capsys):
        print_table(("id", "note"), [("i" * 36, "n" * 400)])
        assert f"{'i' * 36}  {'n' * 400}\n" in capsys.readouterr().out

    @pytest.fixture
    def screen(self, capsys, monkeypatch):
        """Print the same table on a terminal of a width; what stands there."""

        def show(columns):
            monkeypatch.setenv("COLUMNS", str(columns))
            monkeypatch.setenv("TERM", "xterm")
            monkeypatch.setattr("sys.stdout.isatty", lambda: True)
            print_table(("slug", "name", "note"), [("one", "n" * 70, None), ("two", "m", "")])
            return re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out)

        return show

    def test_a_terminal_that_is_wide_enough_shows_a_table(self, screen):
        assert [line.split() for line in screen(90).splitlines() if "─" not in line] == [
            ["slug", "name", "note"],
            ["one", "n" * 70],
            ["two", "m"],
        ]

    def test_a_terminal_that_is_too_narrow_shows_a_row_after_another(self, screen):
        assert screen(80) == f"slug  one\nname  {'n' * 70}\n\nslug  two\nname  m\n"

    def test_the_log_is_shown_on_request(self):
        command = [sys.executable, "-m", "derp_auth_lite", "--database"]
        command += ["postgresql://127.0.0.1:1/app", "users", "list"]
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        quiet, loud = (
            subprocess.run(
                [*command[:3], *extra, *command[3:]],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            for extra in ([], ["--verbose"])
        )
        assert len(quiet.stderr.splitlines()) == 1
        assert quiet.returncode == loud.returncode == 4
        assert len(loud.stderr.splitlines()) > 1
