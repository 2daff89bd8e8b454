"""A hosted service on this machine: a real HTTP server that remembers calls and fails when told."""

from __future__ import annotations

import abc
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from .._clock import Clock, utc_now
from ._loopback import Call, LoopbackServer, Reply, json_reply

__all__ = ["Call", "FakeService", "Reply", "json_reply"]


@dataclass
class _Disturbance:
    reply: Reply | None
    delay: float
    truncated: bool
    lost: bool
    path: str
    times: int


class FakeService(abc.ABC):
    """Serves :meth:`handle` on the loopback interface until the ``with`` block ends.

    Args:
        clock: Where the service's time comes from; the client's, if that is moved.

    Attributes:
        url: Where it is.
        calls: What has arrived, oldest first; what :meth:`disturb` failed, too.
    """

    def __init__(self, *, clock: Clock = utc_now) -> None:
        self.clock = clock
        self._disturbances: list[_Disturbance] = []
        self._lock = threading.RLock()
        self._server = LoopbackServer(self._answer)
        self.calls = self._server.calls
        self.url = self._server.url

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.__exit__(*exc)

    @abc.abstractmethod
    def handle(self, call: Call) -> Reply:
        """Do what is asked for; one call at a time."""

    def disturb(
        self,
        status: int | None = None,
        body: Any = b"",
        *,
        headers: Mapping[str, str] | None = None,
        delay: float = 0.0,
        truncated: bool = False,
        lost: bool = False,
        path: str = "",
        times: int = 1,
    ) -> None:
        """Have the next call fail.

        Args:
            status: Answer so, and do not do what is asked for. Left out: it is done.
            body: With *status*: text, bytes, or what is sent as JSON.
            headers: With *status*.
            delay: Seconds before the answer.
            truncated: Hang up in the middle of the answer.
            lost: Hang up without an answer.
            path: Just calls whose path ends so.
            times: How many calls.
        """
        reply = None if status is None else _reply(status, body, headers)
        self._disturbances.append(_Disturbance(reply, delay, truncated, lost, path, times))

    def last_call(self) -> Call:
        """Return what has arrived last."""
        return self.calls[-1]

    def _disturbance(self, call: Call) -> _Disturbance | None:
        for found in self._disturbances:
            if call.path.endswith(found.path):
                found.times -= 1
                if found.times <= 0:
                    self._disturbances.remove(found)
                return found
        return None

    def _answer(self, call: Call) -> Reply:
        with self._lock:
            found = self._disturbance(call)
            reply = found.reply if found is not None and found.reply else self.handle(call)
        if found is None:
            return reply
        time.sleep(found.delay)
        if found.lost:
            return Reply(raw=iter(()))
        if found.truncated:
            return Reply(raw=iter((bytes(reply)[: -(len(reply.body) // 2) - 1],)))
        return reply


def _reply(status: int, body: Any, headers: Mapping[str, str] | None) -> Reply:
    if isinstance(body, str):
        body = body.encode()
    if isinstance(body, bytes):
        return Reply(status, body, headers or {})
    return json_reply(body, status, headers)
