"""kill -9 in the middle of the work."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..support import PASSWORD
from . import invariants, rounds
from .kills import client

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no SIGKILL")
CHECKOUT = Path(__file__).parent.parent.parent


def test_what_was_acknowledged_outlives_kill_minus_nine(auth, database, tmp_path, report):
    """Every acknowledged act holds, nothing is half done, and the next process goes on."""
    count, seed = rounds(20, 1000), secrets.randbelow(10**9)
    folder = str(tmp_path / "kv")
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.kills", database, folder, str(count), str(seed)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"
    heard = json.loads(done.stdout)
    assert len({name for what, name in heard if what == "made"}) > count // 4, "they did little"

    began = time.perf_counter()
    with client(database, folder) as later:
        later.sign_up(email="later@example.com", password=PASSWORD)
        worst = time.perf_counter() - began
        users = {user.email: user for user in later.list_users()}
        orgs = {org.slug for org in later.list_orgs()}
        sessions = {session.session_id for session in later.list_sessions()}
        for what, name in heard:
            if what == "made":
                assert name in users, f"seed {seed}"
            elif what == "org":
                assert name in orgs, f"seed {seed}"
            elif what == "out":
                assert name not in sessions, f"seed {seed}"
            else:
                assert not users[name].is_active, f"seed {seed}"
        invariants.check(later)
    report("kill -9 in the middle of a transaction", auth._db.dialect, count, worst)
