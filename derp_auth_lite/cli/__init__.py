"""The command ``derp-auth-lite``.

``tour`` needs nothing but the library; every other command needs the extra ``[cli]``.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main", "version"]

_NEEDS_EXTRA = """\
derp-auth-lite: only "tour" works without the command-line extra. To get the other commands:
"""
_INSTALLS = """\
    {python} -m pip install "derp_auth_lite[cli]"
    {python} -m pip install ".[cli]"        in a checkout that is not installed
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code, which ``--help`` explains."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if _has_extra():
        from ._app import main as run

        return run(arguments)
    is_ours = not arguments or arguments[0] in {"tour", "-h", "--help", "--version"}
    if not is_ours:
        sys.stderr.write(_NEEDS_EXTRA + _installs())
        return 2
    options = _parser().parse_args(arguments)
    # The tour opens a client, which --help need not wait for.
    from .tour import take

    return take(options.folder)


def version() -> str:
    """Return what ``--version`` shows."""
    from importlib import metadata  # other commands need not wait for it

    try:
        return f"derp-auth-lite {metadata.version('derp_auth_lite')}"
    except metadata.PackageNotFoundError:  # a checkout that is merely on the path
        return "derp-auth-lite, not installed"


def _has_extra() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("click", "rich"))


def _installs() -> str:
    # The interpreter that runs this: another one's pip would install it elsewhere.
    return _INSTALLS.format(
        python=f'"{sys.executable}"' if " " in sys.executable else sys.executable
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="derp-auth-lite",
        description="User accounts and sessions, without a server.",
        epilog=f"For the other commands:\n{_installs()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=version())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    tour = commands.add_parser(
        "tour",
        help="show the life of an account on a database in a new folder",
        description="Show the life of an account: each call, and what came back. The database "
        "stays for you to look into.",
    )
    tour.add_argument(
        "--folder",
        type=Path,
        metavar="PATH",
        help="a new or empty folder for the database (default: ./derp-auth-lite-tour)",
    )
    return parser
