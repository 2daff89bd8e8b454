"""Kills writers with SIGKILL in the middle of their work, and tells what they had acknowledged.

Run as ``python -m tests.faults.kills DATABASE KV_FOLDER ROUNDS SEED``: each round forks a writer,
which needs no second start of Python, and kills it after a random moment. The output is one JSON
line of what was acknowledged.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from typing import Any

from derp_auth_lite._clock import utc_now
from derp_auth_lite.config import ThrottleConfig
from derp_auth_lite.kv.disk import DiskKV
from derp_auth_lite.native_client import NativeAuthClient

from ..support import PASSWORD, Request, native_client

LONGEST = 0.1


def client(database: str, folder: str) -> NativeAuthClient:
    """Return a client whose limits count and never close."""
    limits = ThrottleConfig(sign_up_by_range=(10**6, 60), sign_in_by_range=(10**6, 60))
    kv = DiskKV(folder, clock=utc_now)
    clock: Any = utc_now
    return native_client(database, clock, kv=kv, throttle=limits)


def write(database: str, folder: str, number: int, pipe: int) -> None:
    """Do what accounts live through, and acknowledge each act once its call has returned."""

    def acknowledge(*words: str) -> None:
        os.write(pipe, (" ".join(words) + "\n").encode())

    with client(database, folder) as auth:
        acknowledge("ready")
        for turn in range(10**6):
            email = f"user{number}-{turn}@example.com"
            user = auth.sign_up(email=email, password=PASSWORD).user
            acknowledge("made", email)
            tokens = auth.sign_in_with_password(email, PASSWORD).tokens
            assert tokens is not None
            session = auth.authenticate(Request(tokens.access_token))
            assert session is not None
            auth.create_org(name="Acme", slug=f"org{number}-{turn}", creator_id=user.id)
            acknowledge("org", f"org{number}-{turn}")
            auth.refresh_token(tokens.refresh_token)
            auth.sign_out(session.session_id)
            acknowledge("out", session.session_id)
            if turn % 3 == 2:
                auth.update_user(user_id=user.id, is_active=False)
                acknowledge("disabled", email)


def round_of(database: str, folder: str, number: int, rng: random.Random) -> list[list[str]]:
    """Kill one writer; return its acknowledgements."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            write(database, folder, number, writing)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.readline()
        time.sleep(rng.uniform(0, LONGEST))
        os.kill(child, signal.SIGKILL)
        said += pipe.read()
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL, "the writer died by itself"
    # The last line may be cut off by the kill: then nobody has heard it.
    lines = said.decode().split("\n")[:-1]
    return [line.split(" ") for line in lines if line != "ready"]


def main() -> None:
    """Run the rounds that the command line asks for."""
    database, folder, count, seed = sys.argv[1:]
    rng = random.Random(int(seed))
    # What the writers import is imported before they are forked, or most would die importing.
    with client(":memory:", f"{folder}-warm") as auth:
        auth.sign_up(email="warm@example.com", password=PASSWORD)
    heard = [
        entry for number in range(int(count)) for entry in round_of(database, folder, number, rng)
    ]
    print(json.dumps(heard))


if __name__ == "__main__":
    main()
