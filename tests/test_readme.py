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
from docutils import nodes
from docutils.core import publish_doctree, publish_string

from derp_auth_lite import config, exceptions
from derp_auth_lite.cli._app import root
from derp_auth_lite.cli._base import NOT_FOUND, REFUSED, UNAVAILABLE, USAGE
from derp_auth_lite.config import Config, ThrottleConfig
from derp_auth_lite.flask.settings import FlaskAuthSettings

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


def _tables():
    """Yield the heading and the rows of each table that has headings; cells are plain text."""
    settings = {"report_level": 5, "_disable_config": True}
    document = publish_doctree(README, settings_overrides=settings)
    for table in document.findall(nodes.table):
        head = next(table.findall(nodes.thead), None)
        if head is not None:
            body = next(table.findall(nodes.tbody))
            (headings,) = _rows(head)
            yield headings[0], _rows(body)


def _rows(part):
    return [
        tuple(" ".join(cell.astext().split()) for cell in row.children) for row in part.children
    ]


TABLES = dict(_tables())


@pytest.mark.parametrize("name", exceptions.__all__)
def test_every_error_has_its_line(name):
    (found,) = (row for row in TABLES["Error"] if row[0] == name)
    assert found[1] == getattr(exceptions, name).code
    assert found[2]


def test_every_extra_has_its_line():
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / "setup.cfg", encoding="utf-8")
    assert [row[0] for row in TABLES["Extra"]] == list(setup["options.extras_require"])


def test_its_table_of_limits_has_the_defaults():
    """OWASP ASVS 5.0, 6.1.1."""
    defaults = dataclasses.asdict(ThrottleConfig())
    in_a_row = defaults.pop("failures_in_a_row")
    expected = {name: (str(count), str(seconds)) for name, (count, seconds) in defaults.items()}
    expected["failures_in_a_row"] = (str(in_a_row), "in a row")
    assert {name: (times, seconds) for name, times, seconds, _ in TABLES["ThrottleConfig"]} == (
        expected
    )


GROUPS = [
    name
    for name in config.__all__
    if name not in {"AuthConfig", "Config", "KVConfig", "ThrottleConfig"}
]


@pytest.mark.parametrize("name", GROUPS)
def test_every_setting_has_its_line_and_default(name):
    fields = dataclasses.fields(getattr(config, name))
    assert [row[:2] for row in TABLES[name]] == [(each.name, shown(each)) for each in fields]


def test_every_setting_of_the_flask_extension_has_its_line_and_default():
    fields = {f"AUTH_{each.name.upper()}": each for each in dataclasses.fields(FlaskAuthSettings)}
    defaults = {name: shown(each) for name, each in fields.items()}
    defaults |= {"AUTH_SITE_NAME": "its own", "AUTH_CSP": "its own", "AUTH_LINKS": "{}"}
    assert {row[0]: row[1] for row in TABLES["Key"]} == defaults


def shown(setting):
    """Return the default of a setting as the tables have it."""
    if setting.default is not dataclasses.MISSING:
        return repr(setting.default)
    return "needed" if setting.default_factory is dataclasses.MISSING else "its own"


def every_command(group, path=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))
        else:
            yield " ".join((*path, name))


def test_its_table_of_commands_is_complete():
    assert sorted(row[0] for row in TABLES["Command"]) == sorted(every_command(root))


def test_its_table_of_exit_codes_is_that_of_the_commands():
    codes = {"0", str(REFUSED), str(USAGE), str(NOT_FOUND), str(UNAVAILABLE)}
    assert {row[0] for row in TABLES["Code"]} == codes


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


def test_its_file_of_settings_can_be_loaded(tmp_path, monkeypatch):
    for name in ("AUTH_SECRET", "ACME_SECRET", "SMTP_PASSWORD"):
        monkeypatch.setenv(name, "x" * 32)
    (tmp_path / "derp.toml").write_text(block_with("[auth.native.jwt]"))
    loaded = Config.load(tmp_path / "derp.toml")
    assert loaded.auth.native.oidc[0].name == "acme"
    assert loaded.email.smtp_port == 465


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
