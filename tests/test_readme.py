"""The README says what is so."""

from __future__ import annotations

import configparser
import dataclasses
import doctest
import re
from pathlib import Path

import pytest

from derp_auth_lite import exceptions
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
    assert [line.strip() for line in first_screen if line.startswith("    ")] == COMMANDS
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
