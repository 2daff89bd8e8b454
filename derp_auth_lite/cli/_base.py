"""What all commands share: how they end, and whom they ask for the accounts."""

from __future__ import annotations

import getpass
import os
import sys
import warnings
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TextIO

import click

from ..exceptions import (
    AuthBackendError,
    AuthError,
    ConfigError,
    OrgMemberNotFoundError,
    OrgNotFoundError,
    UserNotFoundError,
)
from ..models import UserInfo
from ._output import harmless

if TYPE_CHECKING:
    from ..native_client import NativeAuthClient

__all__ = [
    "NOT_FOUND",
    "REFUSED",
    "UNAVAILABLE",
    "USAGE",
    "Addresses",
    "Command",
    "Failure",
    "Group",
    "Operator",
    "confirmed",
    "find_user",
    "json_option",
    "new_password",
    "pass_operator",
    "typed_hidden",
    "yes_option",
]

REFUSED = 1
USAGE = 2
NOT_FOUND = 3
UNAVAILABLE = 4

_CODES: tuple[tuple[type[AuthError], int], ...] = (
    (UserNotFoundError, NOT_FOUND),
    (OrgNotFoundError, NOT_FOUND),
    (OrgMemberNotFoundError, NOT_FOUND),
    (ConfigError, USAGE),
    (AuthBackendError, UNAVAILABLE),
)


class Failure(click.ClickException):
    """Ends a command with one line on stderr.

    Args:
        exit_code: :data:`REFUSED`, :data:`USAGE`, :data:`NOT_FOUND` or :data:`UNAVAILABLE`.
    """

    def __init__(self, message: str, exit_code: int = REFUSED) -> None:
        super().__init__(harmless(message))  # it may name what stands in somebody's file
        self.exit_code = exit_code  # type: ignore[misc]  # click has one for each class


class Command(click.Command):
    """A command whose typed errors are one line and an exit code."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line; an option of the program as a whole has its place named."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            program, name = ctx.find_root(), error.option_name
            if any(name in option.opts for option in program.command.params):
                path = f"{program.info_name} {name} … "
                path += ctx.command_path.removeprefix(f"{program.info_name} ")
                raise click.UsageError(f"{name} comes before the command: {path}", ctx) from None
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and see that all it printed was taken."""
        try:
            returned = super().invoke(ctx)
            sys.stdout.flush()
            return returned
        except AuthError as error:
            codes = [code for kind, code in _CODES if isinstance(error, kind)]
            raise Failure(error.message, (codes or [REFUSED])[0]) from error
        except BrokenPipeError:
            raise  # whoever read has had enough, which click knows
        except OSError as error:
            _forget_unwritten(sys.stdout)
            raise Failure(f"Reading or writing failed: {error.strerror}", UNAVAILABLE) from error


def _forget_unwritten(stream: TextIO) -> None:
    """Point a stream that cannot be written at nothing.

    Python writes out what it still holds when it ends, and would add a traceback and an exit code
    of its own (the note on SIGPIPE in the documentation of :mod:`signal` has the remedy).
    """
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class Group(click.Group):
    """A group of such commands."""

    command_class = Command


class Operator:
    """Where commands get their client from; a framework has one of its own."""

    def client(self) -> AbstractContextManager[NativeAuthClient]:
        """Return a connected client for a ``with`` block."""
        raise NotImplementedError


pass_operator = click.make_pass_decorator(Operator)

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def find_user(auth: NativeAuthClient, who: str) -> UserInfo:
    """Return the user with that address or id.

    Raises:
        UserNotFoundError: There is none.
    """
    user = auth.find_user(who) if "@" in who else auth.get_user(who)
    if user is None:
        raise UserNotFoundError
    return user


class Addresses:
    """Says whose an id is, for people to read; each user is looked up once."""

    def __init__(self, auth: NativeAuthClient) -> None:
        self._auth = auth
        self._known: dict[str, str] = {}

    def of(self, user_id: str) -> str:
        """Return the user's address; the id itself where the user is gone."""
        if user_id not in self._known:
            try:
                self._known[user_id] = self._auth.get_user(user_id).email
            except UserNotFoundError:
                self._known[user_id] = user_id
        return self._known[user_id]


def confirmed(question: str, yes: bool) -> None:
    """Ask before something that cannot be undone; anything but yes ends the command."""
    if yes:
        return
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        click.echo(err=True)
        raise Failure("Nobody is there to answer: --yes does") from None
    if not agreed:
        raise click.Abort


def new_password(from_stdin: bool) -> str:
    """Read a password: the first line of stdin, or typed twice without being shown."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return typed_hidden("Password", twice=True, otherwise="give it by --password-stdin")


def typed_hidden(what: str, *, twice: bool = False, otherwise: str) -> str:
    """Ask for a secret, which is not shown.

    Args:
        otherwise: What to do instead, where no terminal is there to type it on.
    """
    try:
        with warnings.catch_warnings():
            # Python would warn and go on, and what is typed would stand on the screen.
            warnings.simplefilter("error", getpass.GetPassWarning)
            typed: str = click.prompt(what, hide_input=True, confirmation_prompt=twice, err=True)
    except getpass.GetPassWarning:
        message = f"{what}: there is no terminal to type it on unseen; {otherwise}"
        raise Failure(message, USAGE) from None
    return typed
