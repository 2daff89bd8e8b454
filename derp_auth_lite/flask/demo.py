"""A small notes application with accounts and teams: ``python -m derp_auth_lite.flask.demo``.

It keeps everything in the folder ``derp-demo`` where it is started. Mails are not sent: they are
shown at ``/auth/dev/mail``, while debugging and on this machine only. Its accounts on the command
line: ``flask --app derp_auth_lite.flask.demo auth users list``.
"""

from __future__ import annotations

import argparse
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from flask import Flask, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from ..email import EmailClient
from . import FlaskAuth, current_session, current_user, login_required

__all__ = ["create_app", "main"]

_FOLDER = "derp-demo"
_PORT = 5000
_LONGEST_NOTE = 2000
_TABLE = """
    CREATE TABLE IF NOT EXISTS notes (
        id INTEGER PRIMARY KEY, user_id TEXT NOT NULL, org_id TEXT, author TEXT NOT NULL,
        text TEXT NOT NULL
    )
"""


def create_app(folder: str | Path = _FOLDER, *, port: int = _PORT, **options: Any) -> Flask:
    """Return the application; its files are made in *folder*.

    Args:
        port: Where it will be served; its mails say so.
        **options: Further settings of ``open_auth``.
    """
    place = Path(folder)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    app = Flask("derp_auth_lite.flask", static_folder=None)
    app.config["AUTH_DATABASE"] = str(place / "accounts.db")
    app.config["AUTH_SITE_NAME"] = "Notes"
    app.config["AUTH_API"] = True
    app.config["AUTH_EMAIL"] = EmailClient.to_folder(
        place / "mail", site_name="Notes", site_url=f"http://localhost:{port}"
    )
    app.config["AUTH_OPTIONS"] = {
        "enable_confirmation": True,
        "enable_magic_link": True,
        **options,
    }
    auth = FlaskAuth(app)
    notes = _Notes(place / "notes.db")

    @app.get("/")
    @login_required
    def home() -> ResponseReturnValue:
        org_id = current_session.org_id
        team = None if org_id is None else auth.client.get_org(org_id=org_id)
        return render_template(
            "demo/notes.html", notes=notes.seen_by(current_user.id, org_id), team=team
        )

    @app.post("/notes")
    @login_required
    def add() -> ResponseReturnValue:
        text = request.form.get("text", "").strip()
        if not text or len(text) > _LONGEST_NOTE:
            abort(400)
        author = current_user.first_name or current_user.email
        notes.add(current_user.id, current_session.org_id, author, text)
        return redirect(url_for("home"), 303)

    @app.post("/notes/<int:note_id>/delete")
    @login_required
    def delete(note_id: int) -> ResponseReturnValue:
        if not notes.delete(note_id, current_user.id, current_session.org_id):
            abort(404)
        return redirect(url_for("home"), 303)

    return app


class _Notes:
    """Notes of people, and of teams: who works in a team sees the team's."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._run(_TABLE)

    def seen_by(self, user_id: str, org_id: str | None) -> list[tuple[Any, ...]]:
        """Return id, text, author's name and author's id of each, the newest first."""
        columns = "SELECT id, text, author, user_id FROM notes"
        if org_id is None:
            mine = f"{columns} WHERE user_id = ? AND org_id IS NULL ORDER BY id DESC"
            return self._run(mine, user_id)
        return self._run(f"{columns} WHERE org_id = ? ORDER BY id DESC", org_id)

    def add(self, user_id: str, org_id: str | None, author: str, text: str) -> None:
        values = (user_id, org_id, author, text)
        self._run("INSERT INTO notes (user_id, org_id, author, text) VALUES (?, ?, ?, ?)", *values)

    def delete(self, note_id: int, user_id: str, org_id: str | None) -> bool:
        query = "DELETE FROM notes WHERE id = ? AND user_id = ? AND org_id IS ? RETURNING id"
        return bool(self._run(query, note_id, user_id, org_id))

    def _run(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._path)) as connection, connection:
            return connection.execute(sql, values).fetchall()


def main(arguments: list[str] | None = None) -> None:
    """Serve the application on this machine."""
    parser = argparse.ArgumentParser(prog="python -m derp_auth_lite.flask.demo")
    parser.add_argument("--folder", default=_FOLDER, help="where its files are (%(default)s)")
    parser.add_argument("--port", type=int, default=_PORT, help="(%(default)s)")
    options = parser.parse_args(arguments)
    app = create_app(options.folder, port=options.port)
    app.run(port=options.port, debug=True, use_reloader=False)


if __name__ == "__main__":
    main()
