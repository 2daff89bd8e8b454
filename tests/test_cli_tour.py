"""The tour: its steps hold, it says when one does not, and it leaves a database to look into."""

from __future__ import annotations

import io
import re
import shlex
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pytest

from derp_auth_lite import AuthResult, TokenPair, UserInfo, cli
from derp_auth_lite.cli import tour
from derp_auth_lite.cli._show import Printer, brief

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_every_step_comes_out_as_it_should(capsys):
    assert cli.main(["tour"]) == 0
    printed = capsys.readouterr().out
    calls = [step.call for chapter in tour.CHAPTERS for step in chapter.steps]
    shown = " ".join(printed.split())
    for call in calls:
        assert call in shown
    assert "InvalidTokenError: " in printed
    assert "InvalidCredentialsError: " in printed
    assert "\x1b" not in printed


def test_no_token_is_shown_whole(capsys):
    tour.take()
    assert not re.search(r"[\w.-]{60}", capsys.readouterr().out)


def printed_commands(capsys, name):
    return re.findall(rf"^    ({name} .*)$", capsys.readouterr().out, re.MULTILINE)


def test_the_database_stays_and_python_can_look_into_it(capsys, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    tour.take()
    users, events = (
        subprocess.run(
            [sys.executable, *shlex.split(command)[1:]], capture_output=True, text=True, check=True
        ).stdout
        for command in printed_commands(capsys, "python")
    )
    assert "'ada@example.com', 'default', '$argon2id$" in users
    assert "sign_up" in events


def test_where_there_is_sqlite3_it_is_used(capsys, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    tour.take(chapters=())
    for command in printed_commands(capsys, "sqlite3"):
        _, database, query = shlex.split(command)
        connection = sqlite3.connect(database)
        assert connection.execute(query).fetchall() == []
        connection.close()


def test_each_tour_has_a_folder_of_its_own():
    assert [tour.take(chapters=()) for _ in range(2)] == [0, 0]
    assert sorted(path.name for path in Path().iterdir()) == [
        "derp-auth-lite-tour",
        "derp-auth-lite-tour-2",
    ]


def test_the_folder_can_be_named():
    assert tour.take(Path("a/b"), chapters=()) == 0
    with sqlite3.connect("a/b/app.db") as database:
        assert database.execute("select count(*) from auth_users").fetchone() == (0,)
    database.close()


def test_a_folder_with_files_in_it_is_left_alone(capsys):
    Path("full").mkdir()
    Path("full/letter.txt").write_text("dear")
    assert tour.take(Path("full")) == 1
    assert "full has files in it" in capsys.readouterr().out
    assert [path.name for path in Path("full").iterdir()] == ["letter.txt"]


def test_a_folder_that_cannot_be_made_is_said_so(capsys):
    Path("file").write_text("")
    assert tour.take(Path("file/below")) == 1
    assert "No folder for the tour" in capsys.readouterr().out


def test_a_database_that_cannot_be_made_ends_the_tour(capsys):
    """SQLite takes no path of more than 512 bytes, whatever the system takes."""
    assert tour.take(Path(*["a" * 100] * 6), chapters=()) == 1
    assert "AuthBackendError" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        {"call": "auth.count_users()", "expect": "it == 1"},
        {"call": "auth.get_user('nobody')", "expect": "True"},
        {"call": "auth.get_user('nobody')", "raises": "InvalidTokenError"},
        {"call": "auth.count_users()", "raises": "UserNotFoundError"},
    ],
)
def test_the_first_step_that_comes_out_wrong_ends_the_tour(wrong, capsys):
    """A wrong result, an error, a wrong error, no error where there should be one."""
    step = tour.Step(says="A step.", **wrong)
    never = tour.Step(says="Never.", call="auth.count_users()", expect="it == 0")
    chapter = tour.Chapter(title="Wrong", steps=(step, never))
    assert tour.take(chapters=(chapter,)) == 1
    printed = capsys.readouterr().out
    assert "not what should have happened" in printed
    assert "Never." not in printed


def test_a_record_is_shown_without_what_is_empty_and_with_its_tokens_cut():
    user = UserInfo(
        id="4d2bb3b0-7e2a-4f3e-9d39-5d3f1a2b3c4d",
        email="ada@example.com",
        role="default",
        is_active=True,
        is_superuser=False,
        email_confirmed_at=None,
        last_sign_in_at=None,
        created_at=MOMENT,
        updated_at=MOMENT,
        metadata={"plan": "free"},
    )
    tokens = TokenPair(
        access_token="a" * 50, refresh_token="b" * 50, expires_in=900, expires_at=MOMENT
    )
    assert brief(AuthResult(user=user, tokens=tokens)) == (
        "AuthResult(user=UserInfo(id='4d2bb3b0-7e2a-4f3e-9d39-5d3f1a2b3c4d', "
        "email='ada@example.com', role='default', is_active=True, is_superuser=False, "
        "created_at=2026-01-02T03:04:05Z, updated_at=2026-01-02T03:04:05Z, "
        "metadata={'plan': 'free'}), tokens=TokenPair(access_token='aaaaaaaaaaaa...', "
        "refresh_token='bbbbbbbbbbbb...', token_type='bearer', expires_in=900, "
        "expires_at=2026-01-02T03:04:05Z))"
    )


def test_an_object_without_a_repr_of_its_own_is_shown_by_its_type():
    assert brief(object()) == "<object>"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "no_colour", "expected"),
    [
        (Terminal(), "", "\x1b[1mHello\x1b[0m\n"),
        (Terminal(), "1", "Hello\n"),
        (io.StringIO(), "", "Hello\n"),
    ],
)
def test_colours_are_for_terminals_alone(stream, no_colour, expected, monkeypatch):
    monkeypatch.setenv("NO_COLOR", no_colour)
    Printer(stream).line("Hello", "title")
    assert stream.getvalue() == expected


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "derp_auth_lite", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(cli.__file__).parent.parent.parent,
    )
    assert done.stdout.lower().startswith("usage: derp-auth-lite")


@pytest.fixture
def _without_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


@pytest.mark.usefixtures("_without_extra")
class TestWithoutTheExtra:
    def test_the_tour_is_there_all_the_same(self, capsys):
        assert cli.main(["tour", "--folder", "here"]) == 0
        assert "InvalidTokenError: " in capsys.readouterr().out

    def test_other_commands_name_it(self, capsys):
        assert cli.main(["users"]) == 2
        assert 'pip install "derp_auth_lite[cli]"' in capsys.readouterr().err

    def test_help_names_it_too(self, capsys):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["--help"])
        assert stopped.value.code == 0
        assert 'pip install "derp_auth_lite[cli]"' in capsys.readouterr().out

    def test_the_version_is_shown(self, capsys):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["--version"])
        assert stopped.value.code == 0
        assert capsys.readouterr().out == f"derp-auth-lite {metadata.version('derp_auth_lite')}\n"

    def test_no_command_at_all_is_a_usage_error(self, capsys):
        with pytest.raises(SystemExit) as stopped:
            cli.main([])
        assert stopped.value.code == 2


def test_a_checkout_that_is_merely_on_the_path_has_no_version(capsys, monkeypatch):
    def nothing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", nothing)
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == "derp-auth-lite, not installed\n"


def test_with_the_extra_the_tour_is_a_command_among_others():
    assert cli.main(["tour", "--folder", "here"]) == 0
    assert Path("here/app.db").is_file()
    assert cli.main(["tour", "--folder", "here"]) == 1
