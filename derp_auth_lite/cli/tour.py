"""``derp-auth-lite tour``: the life of an account, call by call.

A chapter is a list of steps, and a step is the text of a call with what should come of it. The
very text that is printed is run, so the tour cannot show what the library does not do. To add a
chapter, write its steps and list it in ``CHAPTERS``.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from .._clock import utc_now
from ..exceptions import AuthError
from ..factory import open_auth
from ._show import Printer, brief

__all__ = ["CHAPTERS", "Chapter", "MovableClock", "Step", "take"]

FOLDER = "derp-auth-lite-tour"
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


@dataclass(frozen=True, kw_only=True)
class Step:
    """One call.

    Args:
        says: What happens here, for the reader.
        call: A Python expression over the names that earlier steps have set.
        name: What the result is called from here on, if it is needed.
        expect: An expression that must be true of the result, which it calls ``it``.
        raises: The name of the error that must be raised instead.
    """

    says: str
    call: str
    name: str | None = None
    expect: str = "it is None"
    raises: str | None = None


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """A part of the tour. Its steps share the names ``auth``, ``clock`` and ``Request``."""

    title: str
    steps: tuple[Step, ...]


ACCOUNT = Chapter(
    title="The life of an account",
    steps=(
        Step(
            says="Somebody signs up. Of the password only an Argon2id hash is kept.",
            call='auth.sign_up(email="ada@example.com", password="correct horse battery")',
            expect="it.user.email == 'ada@example.com'",
        ),
        Step(
            says="She signs in: a session begins.",
            name="result",
            call='auth.sign_in_with_password("ada@example.com", "correct horse battery")',
            expect="it.tokens is not None",
        ),
        Step(
            says="Her client sends the access token with each request.",
            name="request",
            call='Request(headers={"Authorization": "Bearer " + result.tokens.access_token})',
            expect="True",
        ),
        Step(
            says="Who is it? Any object with .headers will do, such as Flask's request.",
            name="session",
            call="auth.authenticate(request)",
            expect="it is not None and it.user_id == result.user.id",
        ),
        Step(
            says="Access tokens are short-lived: the refresh token gets the next pair, once.",
            name="tokens",
            call="auth.refresh_token(result.tokens.refresh_token)",
            expect="it.refresh_token != result.tokens.refresh_token",
        ),
        Step(
            says="Eleven seconds pass; for ten, a client whose answer got lost may ask again.",
            call="clock.advance(seconds=11)",
        ),
        Step(
            says="A thief comes with the old refresh token. It was used, so it is refused,",
            call="auth.refresh_token(result.tokens.refresh_token)",
            raises="InvalidTokenError",
        ),
        Step(
            says="and the session that it was stolen from is over, for the thief too.",
            call="auth.authenticate(request)",
        ),
        Step(
            says="Ada signs in again,",
            name="result",
            call='auth.sign_in_with_password("ada@example.com", "correct horse battery")',
            expect="it.tokens is not None",
        ),
        Step(
            says="with a new token",
            name="request",
            call='Request(headers={"Authorization": "Bearer " + result.tokens.access_token})',
            expect="True",
        ),
        Step(
            says="and a new session,",
            name="session",
            call="auth.authenticate(request)",
            expect="it is not None and it.session_id != session.session_id",
        ),
        Step(
            says="and signs out.",
            call="auth.sign_out(session.session_id)",
        ),
        Step(
            says="That takes effect at once, although the access token has minutes to go.",
            call="auth.authenticate(request)",
        ),
        Step(
            says="A wrong password is refused, in the words that an unknown address gets.",
            call='auth.sign_in_with_password("ada@example.com", "correct horse")',
            raises="InvalidCredentialsError",
        ),
    ),
)

CHAPTERS = (ACCOUNT,)


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
        call=f"open_auth({database.as_posix()!r}, clock=clock)",
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
    printer.block(brief(it), "result")
    right = eval(step.expect, {**names, "it": it})  # noqa: S307 - likewise
    if step.name:
        names[step.name] = it
    return step.raises is None and bool(right)


def _where(database: Path, printer: Printer) -> None:
    """Say where the database is and how to look into it."""
    printer.line()
    printer.line("Look into it", "title")
    printer.line()
    printer.line(f"The database is {database}; its key and KV store lie beside it.")
    printer.line("Of passwords it holds hashes, and of tokens nothing that could be presented.")
    for look in LOOKS:
        if shutil.which("sqlite3"):
            command = f'sqlite3 {database} "{look}"'
        else:
            rows = f"sqlite3.connect('{database.as_posix()}').execute('{look}')"
            command = f"python -c \"import sqlite3; print(*{rows}, sep='\\n')\""
        printer.line(f"    {command}", "call")
