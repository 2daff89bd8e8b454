"""What ``import derp_auth_lite`` gives, and what it leaves for later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import derp_auth_lite
from derp_auth_lite import config, exceptions, models

HEAVY = [
    "argon2",
    "click",
    "cryptography",
    "diskcache",
    "email_validator",
    "flask",
    "jinja2",
    "jwt",
    "peewee",
    "psycopg",
    "psycopg2",
    "redis",
    "requests",
]
CHECKOUT = Path(derp_auth_lite.__file__).parent.parent


def loaded_after(statement: str) -> set[str]:
    """Return the heavy packages that a fresh process has loaded after a statement."""
    code = f"{statement}; import sys; print(*(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_the_library_loads_no_heavy_package():
    assert loaded_after("import derp_auth_lite") == set()


def test_importing_the_entry_point_of_the_command_loads_no_heavy_package():
    assert loaded_after("import derp_auth_lite.cli") == set()


def test_importing_open_auth_loads_the_orm_and_nothing_that_only_some_calls_need():
    """Peewee itself imports every PostgreSQL driver that it finds, so drivers are left out here."""
    loaded = loaded_after("from derp_auth_lite import open_auth")
    assert loaded - {"psycopg", "psycopg2"} <= {"peewee"}


def test_a_file_and_a_store_that_are_there_are_opened_without_what_makes_them(tmp_path):
    opened = f"from derp_auth_lite import open_auth; open_auth({str(tmp_path / 'auth.db')!r})"
    assert "diskcache" in loaded_after(opened)
    assert "diskcache" not in loaded_after(opened)


def test_public_names_are_sorted_and_each_is_there():
    assert list(derp_auth_lite.__all__) == sorted(derp_auth_lite.__all__)
    for name in derp_auth_lite.__all__:
        assert getattr(derp_auth_lite, name) is not None
    assert dir(derp_auth_lite) == derp_auth_lite.__all__


@pytest.mark.parametrize("module", [config, exceptions, models])
def test_every_setting_error_and_record_is_a_public_name(module):
    assert set(module.__all__) <= set(derp_auth_lite.__all__)


def test_a_misspelt_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'open_oauth'"):
        _ = derp_auth_lite.open_oauth
    with pytest.raises(ImportError):
        from derp_auth_lite import open_oauth  # noqa: F401  which is never reached
