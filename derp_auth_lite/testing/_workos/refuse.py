"""Errors of the fake service, in the shapes that WorkOS has."""

from __future__ import annotations

from typing import Any

from ..service import Reply, json_reply

__all__ = ["Refuse", "missing", "oauth_error"]


class Refuse(Exception):
    """An answer outside 2xx: ``{code, message, …}``."""

    def __init__(self, status: int, code: str | None, **more: Any) -> None:
        super().__init__(code)
        self.status = status
        named = {} if code is None else {"code": code}
        self.body: dict[str, Any] = {**named, "message": "Request could not be processed.", **more}

    def reply(self) -> Reply:
        """Return the answer."""
        return json_reply(self.body, self.status, {"X-Request-ID": "req_fake"})


def oauth_error(code: str) -> Refuse:
    """Return an error as OAuth has it: ``{error, error_description}``."""
    refuse = Refuse(400, None)
    refuse.body = {"error": code, "error_description": f"The request failed due to: {code}."}
    return refuse


def missing(what: str) -> Refuse:
    """Return the answer for what is not there: it has no code."""
    return Refuse(404, None, message=f"{what} not found.")
