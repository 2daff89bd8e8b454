"""Wheel, sdist, editable install and a mere checkout: each finds all that it needs.

Everything is built from a copy of the checkout, so that no build leaves anything in the real one.
The environments are empty ones: what the library needs must be named in its metadata.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".tox", ".venv", ".*_cache", "__pycache__", "*.egg-info", "build", "dist"
)

OPEN_A_CLIENT = """
import importlib.resources, pathlib, sys
from derp_auth_lite import open_auth
folder, checkout = map(pathlib.Path, sys.argv[1:])
with open_auth(folder / "app.db") as auth:
    auth.sign_up(email="ada@example.com", password="correct horse battery")
    print(auth.count_users())
templates = importlib.resources.files("derp_auth_lite.templates")
wanted = sorted(p.name for p in checkout.glob("templates/*") if p.is_file())
assert wanted == sorted(t.name for t in templates.iterdir() if t.is_file()), wanted
import derp_auth_lite
print(derp_auth_lite.__file__)
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command in an environment without this checkout; return what it printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def packaged_files(checkout: Path) -> set[str]:
    """Return the paths that the package has in a checkout, as a wheel names them."""
    home = checkout / "derp_auth_lite"
    own = {f"derp_auth_lite/{p.relative_to(home).as_posix()}" for p in home.rglob("*.*")}
    templates = {f"derp_auth_lite/templates/{p.name}" for p in checkout.glob("templates/*.*")}
    return own | templates


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A checkout without anything that git does not keep."""
    return Path(
        shutil.copytree(CHECKOUT, tmp_path_factory.mktemp("copy") / "clone", ignore=LEFT_OUT)
    )


@pytest.fixture(scope="module")
def built(copy, tmp_path_factory):
    """The sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, copy, cwd=folder)
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def environment(built, tmp_path_factory):
    """The Python of an environment that has nothing but the wheel and what it asked for."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(python, "-m", "pip", "install", built[1], cwd=folder)
    return python


def test_the_wheel_made_from_the_sdist_has_every_file_of_the_package(copy, built):
    with zipfile.ZipFile(built[1]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == packaged_files(copy)


def test_the_sdist_can_run_the_tests(built):
    with tarfile.open(built[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"tox.ini", "README.rst", ".ci/ruff.toml", "tests/conftest.py"} <= names


def test_an_installed_wheel_opens_a_client_away_from_the_checkout(copy, environment, tmp_path):
    printed = run(environment, "-c", OPEN_A_CLIENT, tmp_path, copy, cwd=tmp_path).splitlines()
    assert printed[0] == "1"
    assert "site-packages" in printed[1]


def test_the_wheel_brings_every_package_that_no_extra_names(environment, tmp_path):
    modules = "argon2, diskcache, email_validator, jinja2, jwt, peewee, requests"
    run(environment, "-c", f"import {modules}", cwd=tmp_path)


def test_the_installed_command_takes_the_tour(environment, tmp_path):
    printed = run(environment.parent / "derp-auth-lite", "tour", cwd=tmp_path)
    assert "InvalidCredentialsError" in printed
    assert (tmp_path / "derp-auth-lite-tour" / "app.db").is_file()


def test_other_commands_say_which_extra_they_need(environment, tmp_path):
    done = subprocess.run(
        [environment.parent / "derp-auth-lite", "users"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert 'pip install "derp_auth_lite[cli]"' in done.stderr


def test_a_clone_works_beside_an_installed_wheel(copy, environment, tmp_path):
    """``python -m`` in a clone imports the clone, which has no ``derp_auth_lite.templates``."""
    code = "import derp_auth_lite; print(derp_auth_lite.__file__)"
    assert run(environment, "-c", code, cwd=copy).strip().startswith(str(copy))
    run(environment, "-m", "derp_auth_lite", "tour", "--folder", tmp_path / "tour", cwd=copy)


@pytest.fixture(scope="module")
def bare(environment):
    """An environment with what the wheel asked for, but without the wheel."""
    run(environment, "-m", "pip", "uninstall", "-y", "derp_auth_lite", cwd=environment.parent)
    return environment


def test_a_mere_clone_takes_the_tour(copy, bare, tmp_path):
    run(bare, "-m", "derp_auth_lite", "tour", "--folder", tmp_path / "tour", cwd=copy)


def test_an_editable_install_opens_a_client_away_from_the_checkout(copy, bare, tmp_path):
    run(bare, "-m", "pip", "install", "--no-deps", "--use-pep517", "-e", copy, cwd=tmp_path)
    printed = run(bare, "-c", OPEN_A_CLIENT, tmp_path, copy, cwd=tmp_path).splitlines()
    assert printed[0] == "1"
    assert Path(printed[1]).is_relative_to(copy)
