"""The README says what is so."""

from __future__ import annotations

import configparser
import dataclasses
import doctest
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import pytest

from derp_auth_lite import config, exceptions
from derp_auth_lite.cli._app import root
from derp_auth_lite.config import ThrottleConfig

CHECKOUT = Path(__file__).parent.parent
README = (CHECKOUT / "README.rst").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (python3 -m venv .*)$", README, flags=re.MULTILINE)


def test_its_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = doctest.testfile(
        str(CHECKOUT / "README.rst"),
        module_relative=False,
        optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL,
        encoding="utf-8",
    )
    assert outcome.attempted > 10
    assert outcome.failed == 0


@pytest.mark.parametrize("name", ["README.rst", "CHANGES.rst"])
def test_its_markup_is_valid(name):
    from docutils.core import publish_string

    publish_string(
        (CHECKOUT / name).read_text(encoding="utf-8"),
        writer="html5",
        settings_overrides={"halt_level": 2, "report_level": 2, "embed_stylesheet": False},
    )


def test_its_first_screen_has_the_two_commands():
    first_screen = README.splitlines()[:30]
    assert [line.strip() for line in first_screen if line.startswith("    python3")] == COMMANDS
    assert len(COMMANDS) == 2
    assert COMMANDS[0].endswith("derp-auth-lite tour")


def test_the_checks_of_every_change_run_its_second_command():
    assert COMMANDS[1] in (CHECKOUT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", exceptions.__all__)
def test_every_error_has_its_line(name):
    assert f"   * - ``{name}``, ``{getattr(exceptions, name).code}``\n" in README


def test_every_extra_has_its_line():
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / "setup.cfg", encoding="utf-8")
    listed = re.findall(r"^``(\w+)``  +", README[README.index("Extras\n") :], flags=re.MULTILINE)
    assert listed == list(setup["options.extras_require"])


def test_its_table_of_limits_has_the_defaults():
    """OWASP ASVS 5.0, 6.1.1."""
    section = README[README.index("Limits\n------") : README.index("Errors\n------")]
    rows = re.findall(r"\* - ``(\w+)``\n     - (\d+)\n     - (.+)\n", section)
    defaults = dataclasses.asdict(ThrottleConfig())
    in_a_row = defaults.pop("failures_in_a_row")
    expected = {name: (str(count), str(seconds)) for name, (count, seconds) in defaults.items()}
    expected["failures_in_a_row"] = (str(in_a_row), "in a row")
    assert {name: (count, seconds) for name, count, seconds in rows} == expected


SETTINGS = [
    (f"{name}.{setting.name}", setting)
    for name in config.__all__
    if name not in {"AuthConfig", "Config", "KVConfig", "ThrottleConfig"}
    for setting in dataclasses.fields(getattr(config, name))
]


@pytest.mark.parametrize(("name", "setting"), SETTINGS, ids=[name for name, _ in SETTINGS])
def test_every_setting_has_its_line_and_default(name, setting):
    if setting.default is not dataclasses.MISSING:
        default = f"``{setting.default!r}``"
    else:
        default = "needed" if setting.default_factory is dataclasses.MISSING else "its own"
    assert f"   * - ``{name}``\n     - {default}\n     - " in README


def every_command(group, path=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))
        else:
            yield " ".join((*path, name))


def test_its_table_of_commands_is_complete():
    section = README[README.index("On the command line\n") : README.index("Mails\n-----")]
    listed = re.findall(r"   \* - ``([a-z -]+)``\n", section)
    assert sorted(listed) == sorted(every_command(root))


def block_with(line):
    """Return the indented block of the README that has this line."""
    blocks = re.findall(r"(?m)^(?:    .*\n|\n)+", README)
    (block,) = (block for block in blocks if line in block)
    return textwrap.dedent(block)


def test_its_flask_application_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "readme"}
    exec(block_with("FlaskAuth(app)"), names)
    assert names["app"].test_client().get("/").status_code == 303
    names["app"].extensions["derp_auth_lite"].client.disconnect()


def test_its_test_runs(tmp_path):
    (tmp_path / "test_app.py").write_text(block_with("def test_a_forgotten_password"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout
