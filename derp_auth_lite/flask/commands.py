"""``flask auth``: the commands that look at accounts and change them, on the application's own."""

from __future__ import annotations

import importlib.util
from contextlib import AbstractContextManager, nullcontext

import click
from flask import Flask
from flask.cli import with_appcontext

from ..cli._base import Failure, Operator
from ..cli.keeping import purge
from ..cli.orgs import orgs
from ..cli.outbox import outbox
from ..cli.records import doctor, events, explain
from ..cli.sessions import sessions
from ..cli.users import users
from ..native_client import NativeAuthClient
from .state import state

__all__ = ["add_commands"]


class _ApplicationsAccounts(Operator):
    """The client that the application has opened, and goes on using."""

    def __init__(self, client: NativeAuthClient) -> None:
        self._client = client

    def client(self) -> AbstractContextManager[NativeAuthClient]:
        """Return it."""
        return nullcontext(self._client)


@click.group("auth")
@click.pass_context
@with_appcontext
def _auth(ctx: click.Context) -> None:
    """Look at the application's accounts, and change them.

    Example: flask auth users list
    """
    client = state().client
    if importlib.util.find_spec("rich") is None:
        raise Failure('These commands need an extra: pip install "derp_auth_lite[cli]"')
    if not isinstance(client, NativeAuthClient):
        raise Failure("These commands are for accounts in a database of one's own")
    ctx.obj = _ApplicationsAccounts(client)


for _command in (users, sessions, orgs, events, outbox, doctor, explain, purge):
    _auth.add_command(_command)


def add_commands(app: Flask) -> None:
    """Add the group ``auth`` to the command ``flask``."""
    app.cli.add_command(_auth)
