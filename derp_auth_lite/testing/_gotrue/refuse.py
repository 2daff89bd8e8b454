"""Errors as Supabase Auth answers them, in the newer shape and in the older one."""

from __future__ import annotations

from typing import Any

from ..service import Call, Reply, json_reply

__all__ = ["Refuse"]


class Refuse(Exception):
    """A call is refused; *more* is put into the body."""

    def __init__(self, status: int, code: str, message: str = "refused", **more: Any) -> None:
        super().__init__(code)
        self.status, self.code, self.message, self.more = status, code, message, more

    def reply(self, call: Call, *, versioned: bool) -> Reply:
        """Return the answer, in the shape that the caller's version header asks for.

        Args:
            versioned: The service knows the version header.
        """
        if versioned and "x-supabase-api-version" in call.headers:
            body = {"code": self.code, "message": self.message, **self.more}
            headers = {"X-Supabase-Api-Version": "2024-01-01", "X-Sb-Error-Code": self.code}
            return json_reply(body, self.status, headers)
        if self.code.isdigit():  # a state of PostgreSQL's
            return json_reply({"code": self.code, "message": self.message}, self.status)
        old = {"code": self.status, "error_code": self.code, "msg": self.message, **self.more}
        return json_reply(old, self.status)
