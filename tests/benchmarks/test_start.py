"""What it costs to import the library and open a client, above what Python itself costs."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from . import peer
from .interleaved import Row
from .results import report

STATE = Path("/proc/self/statm")
RESIDENT = f"; print(open('{STATE}').read().split()[1])"
OPEN = "from derp_auth_lite import open_auth; open_auth({path!r})"
# Peewee imports each driver that it finds. Who has no PostgreSQL has none; the tests' environment
# has one.
WITHOUT_DRIVERS = "import sys; sys.modules['psycopg'] = None; "
ROUNDS = 9


def cost_of(interpreter, code, environment):
    """Return the seconds that a fresh process takes, and the memory that it has (pages)."""
    begun = time.perf_counter()
    done = subprocess.run(
        [str(interpreter), "-c", code + RESIDENT],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return time.perf_counter() - begun, int(done.stdout)


@pytest.mark.skipif(not STATE.exists(), reason="only Linux tells a process's memory so")
def test_a_start_against_the_import_of_the_async_original(tmp_path):
    theirs = peer.environment()
    ours = OPEN.format(path=str(tmp_path / "auth.db"))
    contestants = {
        "bare": (sys.executable, "pass"),
        "ours": (sys.executable, WITHOUT_DRIVERS + ours),
        "ours with a driver": (sys.executable, ours),
        "bare of the original": (theirs, "pass"),
        "the original": (theirs, "import derp.auth"),
    }
    # Compiled modules are found, as where a library is installed.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    taken = {name: [] for name in contestants}
    for round_ in range(ROUNDS + 1):
        for name, (interpreter, code) in contestants.items():
            cost = cost_of(interpreter, code, environment)
            if round_:  # the first has made files, and read what it needs from the disk
                taken[name].append(cost)

    def above(name, bare, which):
        middle = [statistics.median(cost[which] for cost in taken[each]) for each in (name, bare)]
        return middle[0] - middle[1]

    rows = []
    for which, what, unit, target in ((0, "wall", 1e6, 0.25), (1, "memory, pages", 1, 0.4)):
        other = above("the original", "bare of the original", which) * unit
        for name in ("ours", "ours with a driver"):
            title = f"import and open: {what}" + (" (psycopg is there)" if "driver" in name else "")
            row = Row(title, above(name, "bare", which) * unit, "import derp.auth", other, target)
            rows.append(row)
    report(
        "A start, above bare Python",
        rows,
        "Nearly half of it is Python's own dataclasses, typing, logging and sqlite3, and Peewee;"
        " another fifth is to make forty dataclasses, half a millisecond each. diskcache is loaded"
        " only where the store is made. Peewee loads each driver that it finds, whatever the"
        " database, and makes its adapters as it is imported: to hide a driver from it would"
        " keep it from an application that uses Peewee with PostgreSQL itself.",
    )
