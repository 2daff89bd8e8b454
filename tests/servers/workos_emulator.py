"""The emulator that WorkOS ships with its npm package: tolerant, but written by somebody else."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .node import install, node

__all__ = ["CLIENT_ID", "Emulator", "run"]

VERSION = "0.14.0"
CLIENT_ID = "client_emulated"


@dataclass(frozen=True)
class Emulator:
    """Where it is, and the key that it takes."""

    url: str
    api_key: str


@contextmanager
def run() -> Iterator[Emulator]:
    """Start the emulator; it ends with the block."""
    program = install("workos", VERSION) / "workos" / "dist" / "bin.js"
    command = [node(), str(program), "emulate", "--port", "0", "--json"]
    quiet = {**os.environ, "WORKOS_TELEMETRY": "false", "CI": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=quiet
    ) as process:
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"WorkOS' emulator did not start: {' '.join(command)}")
            told = json.loads(line)
            yield Emulator(url=told["url"], api_key=told["apiKey"])
        finally:
            process.terminate()
            process.wait(10)
