"""``derp-auth-lite tour``: the life of an account, call by call.

The very text that is printed is run, so the tour cannot show what the library does not do. To add a
chapter, write its steps in ``_chapters.py`` and list it in ``CHAPTERS``.
"""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from .._clock import utc_now
from ..email import SentMail
from ..exceptions import AuthError, EmailSendError
from ..factory import open_auth
from ..native_client import NativeAuthClient
from ._chapters import ACCOUNT, MAILS, TEAMS, Chapter, Step
from ._show import Printer, as_letter, brief

__all__ = ["CHAPTERS", "Chapter", "MovableClock", "Step", "take"]

FOLDER = "derp-auth-lite-tour"
_MAIL_SECONDS = 10.0
LOOKS = (
    "select email, role, password_hash from auth_users",
    "select action, outcome, reason from auth_events order by created_at",
)


@dataclass(frozen=True)
class Request:
    """Stands for what a web framework hands to a view."""

    headers: dict[str, str]


class MovableClock:
    """The system's clock, put forward by as much as the tour says."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        """Return the moment that the tour has come to."""
        return utc_now() + self._ahead

    def advance(self, *, seconds: float) -> None:
        """Let ``seconds`` pass at once."""
        self._ahead += timedelta(seconds=seconds)


class Mailbox:
    """The mails of the tour, in the order in which they were sent."""

    def __init__(self, auth: NativeAuthClient) -> None:
        self._auth = auth
        self._read = 0

    def newest(self) -> SentMail:
        """Return the next mail; it may be on its way still."""
        deadline = time.monotonic() + _MAIL_SECONDS
        while time.monotonic() < deadline:
            self._auth.deliver_mail()
            sent = self._auth.email_client.sent if self._auth.email_client else []
            if len(sent) > self._read:
                self._read += 1
                return sent[self._read - 1]
            time.sleep(0.02)
        raise EmailSendError("the mail did not come")


CHAPTERS = (ACCOUNT, MAILS, TEAMS)


def take(folder: Path | None = None, chapters: tuple[Chapter, ...] = CHAPTERS) -> int:
    """Walk through the chapters on a database in a new or empty folder.

    Args:
        folder: Made if need be; by default one under the current directory.
        chapters: What to show.

    Returns:
        0 when every step came out as it should, 1 otherwise.
    """
    printer = Printer(sys.stdout)
    try:
        database = _new_folder(folder) / "app.db"
    except OSError as error:
        printer.line(f"No folder for the tour: {error}", "failure")
        return 1
    clock = MovableClock()
    names: dict[str, Any] = {"open_auth": open_auth, "clock": clock, "Request": Request}
    opening = Step(
        says="One line makes the database, its schema, a signing key and a KV store. The clock is\n"
        "one that can be put forward; your program leaves it out.",
        name="auth",
        call=f"open_auth({database.as_posix()!r}, enable_magic_link=True, clock=clock)",
        expect="True",
    )
    try:
        done = _walk((Chapter(title="Opening", steps=(opening,)), *chapters), names, printer)
    finally:
        if "auth" in names:
            names["auth"].disconnect()
    if done:
        _where(database, printer)
    return 0 if done else 1


def _new_folder(wanted: Path | None) -> Path:
    """Make the folder; one that has files in it is left alone, with FileExistsError."""
    if wanted is not None:
        wanted.mkdir(parents=True, exist_ok=True)
        if any(wanted.iterdir()):
            raise FileExistsError(f"{wanted} has files in it; name a new one")
        return wanted
    number = 1
    while True:
        folder = Path(FOLDER if number == 1 else f"{FOLDER}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def _walk(chapters: tuple[Chapter, ...], names: dict[str, Any], printer: Printer) -> bool:
    """Show and run step after step; stop at the first that comes out wrong."""
    for chapter in chapters:
        printer.line()
        printer.line(chapter.title, "title")
        for step in chapter.steps:
            printer.line()
            printer.line(step.says)
            target = f"{step.name} = " if step.name else ""
            printer.block(f">>> {target}{step.call}", "call")
            if not _run(step, names, printer):
                printer.line("This is not what should have happened: please report it.", "failure")
                return False
    return True


def _run(step: Step, names: dict[str, Any], printer: Printer) -> bool:
    """Run the call as it is printed; return whether it came out as expected."""
    try:
        it = eval(step.call, names)  # noqa: S307 - the text is this file's own
    except AuthError as error:
        printer.block(f"{type(error).__name__}: {error}", "refusal")
        return type(error).__name__ == step.raises
    if isinstance(it, SentMail):
        printer.verbatim(as_letter(it), "result")
    else:
        printer.block(brief(it), "result")
    right = eval(step.expect, {**names, "it": it})  # noqa: S307 - likewise
    if step.name:
        names[step.name] = it
    if isinstance(it, NativeAuthClient):
        names["mailbox"] = Mailbox(it)
    return step.raises is None and bool(right)


def _where(database: Path, printer: Printer) -> None:
    """Say where the database is and how to look into it."""
    printer.line()
    printer.line("Look into it", "title")
    printer.line()
    printer.line(f"The database is {database}; its key, its KV store and the mails lie beside it.")
    printer.line("Of passwords it holds hashes, and of tokens nothing that could be presented.")
    for look in LOOKS:
        if shutil.which("sqlite3"):
            command = f'sqlite3 {database} "{look}"'
        else:
            rows = f"sqlite3.connect('{database.as_posix()}').execute('{look}')"
            command = f"python -c \"import sqlite3; print(*{rows}, sep='\\n')\""
        printer.line(f"    {command}", "call")
