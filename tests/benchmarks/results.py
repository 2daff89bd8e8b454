"""Keeps what was measured in RESULTS.rst, a section for each table."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import textwrap
from pathlib import Path

from .interleaved import Row, table

FILE = Path(__file__).with_name("RESULTS.rst")
_HEAD = """\
What was measured
=================

``tox -e bench`` writes this file. Each ratio is this library's time over the other's, medians of
one run in turns (A B A B …). Times are of the machine named with each table and only its own;
ratios hold within about a fifth. A target that was missed is marked.
"""


def report(title: str, rows: list[Row], note: str = "") -> None:
    """Print a table, and keep it in place of the one that had its title.

    Args:
        note: What decides the figures.
    """
    text = f"{title}\n{'-' * len(title)}\n\n{_machine()}::\n\n{_indented(table(rows))}\n"
    text += f"\n{textwrap.fill(note, 100)}\n" if note else ""
    print(f"\n{title}\n{table(rows)}")
    sections = {**_kept(), title: text}
    FILE.write_text("\n".join([_HEAD, *(sections[name] for name in sorted(sections))]))


def _kept() -> dict[str, str]:
    """Return the sections that are there, by title."""
    if not FILE.exists():
        return {}
    found = re.split(r"^(?=.+\n-+\n\n)", FILE.read_text(), flags=re.MULTILINE)[1:]
    return {section.partition("\n")[0]: section.rstrip() + "\n" for section in found}


def _machine() -> str:
    system = f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores"
    versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{system}, {versions}{load}"


def _indented(text: str) -> str:
    return "\n".join(f"   {line}".rstrip() for line in text.splitlines())
