"""Runs peers in an environment of their own, and times them in turns with this library."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

FOLDER = Path(__file__).parent / "peers"
VARIABLE = "DERP_AUTH_LITE_BENCH_PEERS"
"""Names the folder of the peers' environment; ``tox -e bench`` sets it."""

Timer = Callable[[int], float]
"""Runs something so many times and returns the seconds that it took."""


def environment() -> Path:
    """Return the interpreter that has the peers, installing them on first use."""
    default = Path(__file__).parents[2] / ".tox" / "peers"
    folder = Path(os.environ.get(VARIABLE, default))
    wanted = (FOLDER / "requirements.txt").read_text()
    done = folder / "requirements.txt"
    interpreter = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not done.exists() or done.read_text() != wanted:
        subprocess.run([_python_for_peers(), "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(interpreter), "-m", "pip", "install", "--quiet", "-r"]
        subprocess.run([*install, str(FOLDER / "requirements.txt")], check=True)
        done.write_text(wanted)
    return interpreter


def _python_for_peers() -> str:
    """Return a Python that the async original runs on, 3.12 or newer."""
    if sys.version_info >= (3, 12):
        return sys.executable
    found = shutil.which("python3.12") or shutil.which("python3.13")
    if found is None:
        raise RuntimeError("the peers need Python 3.12 or newer on the PATH")
    return found


class Peer:
    """A peer's process, which times its own calls when it is asked to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def timer(self, name: str) -> Timer:
        """Return what times the peer's operation of that name."""

        def run(calls: int) -> float:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps([name, calls]) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
            assert answer, "the peer has ended"
            return float(json.loads(answer))

        return run


@contextlib.contextmanager
def running(interpreter: Path, name: str, *arguments: str) -> Iterator[Peer]:
    """Yield the peer in the file of that name, ready to be timed."""
    process = subprocess.Popen(
        [str(interpreter), str(FOLDER / f"{name}.py"), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        yield Peer(process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(timeout=30)
        process.stdout.close()


def timer(call: Callable[[], object]) -> Timer:
    """Return what times *call* in this process."""

    def run(calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return time.perf_counter() - start

    return run


def medians_of(
    timers: Mapping[str, Timer], *, rounds: int = 9, calls: int = 50
) -> dict[str, float]:
    """Return what a call of each costs in microseconds: the median over turns."""
    taken: dict[str, list[float]] = {name: [] for name in timers}
    for run in timers.values():
        run(5)
    for _ in range(rounds):
        for name, run in timers.items():
            taken[name].append(run(calls) / calls * 1e6)
    return {name: statistics.median(times) for name, times in taken.items()}
