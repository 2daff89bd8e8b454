"""The one place that sends: time-outs, retries, size limits, and failures made into our errors.

Every hosted backend and every sign-in provider goes through :class:`HTTPClient`. The rules are
those of RFC 9700 (OAuth security) and OWASP ASVS 5.0, 12 and 15: explicit time-outs, no redirects,
no settings from the environment, a limit on what is read, and no secret in a log or in an error.
"""

from __future__ import annotations

import json as json_module
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from .._clock import Clock, utc_now
from ..exceptions import AuthBackendError
from .values import parse_json, retry_after, whole_number

if TYPE_CHECKING:
    from requests import PreparedRequest

    from .adapter import DeadlineAdapter

__all__ = ["ErrorTranslator", "HTTPClient", "HTTPResult"]

logger = logging.getLogger("derp_auth_lite.http")

ErrorTranslator = Callable[[int, Mapping[str, Any], Mapping[str, str]], Exception | None]
"""Turns a refusal into an error: (status, JSON object or {}, headers) -> error, or None: default.

The headers compare their names without regard to case.
"""

_RETRY_STATUSES = frozenset({429, 502, 503, 504})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_REQUEST_ID_HEADERS = ("X-Request-ID", "X-GitHub-Request-Id", "sb-request-id", "CF-Ray")
_JITTER = secrets.SystemRandom()


@dataclass(frozen=True, slots=True)
class HTTPResult:
    """An answer with a 2xx status.

    ``data`` is the parsed JSON, or ``None`` for an empty body; names of ``headers`` compare without
    regard to case. Neither shows in ``repr``: both can hold tokens.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    data: Any = field(repr=False)
    name: str = "The service"

    def json_object(self) -> dict[str, Any]:
        """Return ``data``, which must be a JSON object.

        Raises:
            AuthBackendError: It is something else.
        """
        if not isinstance(self.data, dict):
            raise AuthBackendError(f"{self.name} answered with something other than a JSON object")
        return self.data


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came back, whatever its status; ``body`` was read up to the limit."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HTTPClient:
    """Sends JSON or form requests to one service. Safe for threads, and after ``fork``.

    Args:
        base_url: What every path is appended to. Empty: each call gives a whole URL as its path.
        headers: Sent with every call.
        timeout: Seconds to connect, and to wait for the next bytes.
        total_timeout: Seconds that a call may last in all, its retries and their waits included.
            (Looking up a host's name is the system's business and is not counted.)
        max_bytes: Longest answer that is read.
        retries: How often an idempotent call is repeated at most.
        retry_statuses: Statuses worth repeating; connection errors always are.
        max_retry_after: Longest ``Retry-After``, in seconds, that is waited for.
        name: The service's name in errors and logs.
        ca_bundle: File of trusted certificates, for a service with a private authority.
        clock: Tells the time against which a ``Retry-After`` date is read.
        parse: Reads the body of a 2xx answer; ValueError for one that cannot be read.
        log_paths: Whether logs show paths; not for a service whose paths give something away.
    """

    def __init__(
        self,
        base_url: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        timeout: tuple[float, float] = (5.0, 10.0),
        total_timeout: float = 20.0,
        max_bytes: int = 1024 * 1024,
        retries: int = 2,
        retry_statuses: Collection[int] = _RETRY_STATUSES,
        max_retry_after: float = 10.0,
        name: str = "The service",
        ca_bundle: str | None = None,
        clock: Clock = utc_now,
        parse: Callable[[bytes], Any] = parse_json,
        log_paths: bool = True,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.name = name
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "derp-auth-lite",
            **(headers or {}),
        }
        self._timeout = timeout
        self._total_timeout = total_timeout
        self._max_bytes = max_bytes
        self._retries = retries
        self._retry_statuses = frozenset(retry_statuses)
        self._max_retry_after = max_retry_after
        self._verify: bool | str = ca_bundle or True
        self._clock = clock
        self._parse = parse
        self._log_paths = log_paths
        self._adapter: tuple[int, DeadlineAdapter] | None = None

    def __repr__(self) -> str:
        return f"HTTPClient({self.base_url!r}, name={self.name!r})"

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        idempotent: bool | None = None,
        errors: ErrorTranslator | None = None,
    ) -> HTTPResult:
        """Send one request and return its answer.

        Args:
            method: GET, POST, ...
            path: Begins with ``/``; ids in it went through :func:`quote_id`.
            params: The query.
            json: Sent as a JSON body.
            form: Sent as a form body; not together with *json*.
            headers: Beside the client's own.
            idempotent: Whether the call may be repeated after a failure. Left out: GET, HEAD and
                OPTIONS are. Never say so of a refresh or of a one-time code.
            errors: Names the error of an answer outside 2xx; where it has none, and for every
                failure of the network, the error is AuthBackendError.

        Raises:
            AuthBackendError: No answer, no answer in time, a redirect, too many bytes, no JSON, or
                a status that *errors* does not know.
        """
        prepared = self._prepare(method, path, params=params, json=json, form=form, headers=headers)
        may_repeat = method in _SAFE_METHODS if idempotent is None else idempotent
        answer = self._send(prepared, self._retries if may_repeat else 0)
        if 200 <= answer.status < 300:
            return HTTPResult(answer.status, answer.headers, self._data(answer), self.name)
        refused = errors(answer.status, _error_body(answer), answer.headers) if errors else None
        raise refused or AuthBackendError(f"{self.name} answered with status {answer.status}")

    def close(self) -> None:
        """Close the kept connections; the next call opens new ones."""
        adapter, self._adapter = self._adapter, None
        if adapter is not None and adapter[0] == os.getpid():
            adapter[1].close()

    def _prepare(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None,
        json: Any,
        form: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
    ) -> PreparedRequest:
        if self.base_url and path and not path.startswith("/"):
            raise ValueError("a path must begin with a slash")
        if json is not None and form is not None:
            raise ValueError("a request has a JSON body or a form, not both")
        import requests  # late: a tenth of a second, and most programs never send

        body, kind = None, {}
        if json is not None:
            body = json_module.dumps(json, separators=(",", ":"), allow_nan=False).encode()
            kind = {"Content-Type": "application/json"}
        elif form is not None:
            body = urlencode(form).encode()
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
        request = requests.Request(
            method,
            self.base_url + path,
            params=dict(params) if params else None,
            data=body,
            headers={**self._headers, **kind, **(headers or {})},
        )
        try:
            return request.prepare()
        except (requests.RequestException, UnicodeError) as error:
            problem = type(error).__name__
        # Not chained: the text of the cause would show the header that it does not like.
        raise AuthBackendError(f"{self.name} cannot be called ({problem})")

    def _send(self, prepared: PreparedRequest, retries: int) -> _Answer:
        """Send, and repeat at most *retries* times while the call's time lasts."""
        deadline = time.monotonic() + self._total_timeout
        for attempt in range(retries):
            try:
                answer = self._send_once(prepared, deadline)
            except _UnreachableError:
                if not self._pause(attempt, {}, deadline):
                    raise
                continue
            if answer.status not in self._retry_statuses:
                return answer
            if not self._pause(attempt, answer.headers, deadline):
                return answer
        return self._send_once(prepared, deadline)

    def _send_once(self, prepared: PreparedRequest, deadline: float) -> _Answer:
        import requests
        import urllib3.exceptions

        from .adapter import DEADLINE

        started = time.monotonic()
        connect, read = (max(0.001, min(t, deadline - started)) for t in self._timeout)
        token = DEADLINE.set(deadline)
        failures = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, UnicodeError)
        try:
            response = self._pool().send(
                prepared, stream=True, timeout=(connect, read), verify=self._verify
            )
            try:
                answer = _Answer(response.status_code, response.headers, self._read(response.raw))
            finally:
                response.close()
        except failures as error:
            failure = _without_url(error)
        else:
            self._log(prepared, answer, time.monotonic() - started)
            return answer
        finally:
            DEADLINE.reset(token)
        # Raised down here, so that requests' own error, which shows the query, is no context of it.
        self._log_failure(prepared, failure, time.monotonic() - started)
        host = urlsplit(prepared.url or "").hostname
        raise _UnreachableError(
            f"{self.name} ({host}) could not be reached, or did not answer in time"
        ) from failure

    def _pool(self) -> DeadlineAdapter:
        """Return this process's connections; those inherited through ``fork`` are left alone."""
        adapter = self._adapter
        if adapter is None or adapter[0] != os.getpid():
            from .adapter import DeadlineAdapter

            adapter = self._adapter = (os.getpid(), DeadlineAdapter())
        return adapter[1]

    def _read(self, raw: Any) -> bytes:
        """Read a body as it is on the wire, up to the limit."""
        if raw.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise AuthBackendError(f"{self.name} sent a compressed answer that nobody asked for")
        parts, size = [], 0
        while part := raw.read(65536, decode_content=False):
            parts.append(part)
            size += len(part)
            if size > self._max_bytes:
                raise AuthBackendError(f"{self.name} sent more than {self._max_bytes} bytes")
        announced = whole_number(raw.headers.get("Content-Length", ""))
        if announced is not None and 0 < size < announced:
            raise ConnectionError("the answer was cut short")  # urllib3 1.26 does not notice
        return b"".join(parts)

    def _pause(self, attempt: int, headers: Mapping[str, str], deadline: float) -> bool:
        """Wait before the next attempt; ``False``: the server, or the call's time, forbids one."""
        backoff = 0.2 * 2**attempt * _JITTER.uniform(0.5, 1.0)
        asked = retry_after(headers, self._clock) or 0.0
        wait = max(asked, backoff)
        if asked > self._max_retry_after or time.monotonic() + wait >= deadline:
            return False
        time.sleep(wait)
        return True

    def _data(self, answer: _Answer) -> Any:
        if not answer.body.strip():
            return None
        try:
            return self._parse(answer.body)
        except ValueError as error:
            wanted = "JSON" if self._parse is parse_json else "text that can be read"
            raise AuthBackendError(f"{self.name} did not answer with {wanted}") from error

    def _log(self, prepared: PreparedRequest, answer: _Answer, seconds: float) -> None:
        """Write method, host, path, status and request ids; never a query, header or body."""
        ids = [answer.headers[h] for h in _REQUEST_ID_HEADERS if h in answer.headers]
        logger.log(
            logging.DEBUG if answer.status < 400 else logging.INFO,
            "%s: %s %s -> %d in %.2f s, request id %s",
            self.name,
            prepared.method,
            self._log_target(prepared.url),
            answer.status,
            seconds,
            ", ".join(re.sub(r"[^\w.:/=-]", "?", i)[:80] for i in ids) or "none",
        )

    def _log_failure(self, prepared: PreparedRequest, failure: Exception, seconds: float) -> None:
        logger.warning(
            "%s: %s %s failed after %.2f s: %s",
            self.name,
            prepared.method,
            self._log_target(prepared.url),
            seconds,
            type(failure).__name__,
        )

    def _log_target(self, url: str | None) -> str:
        parts = urlsplit(url or "")
        return f"{parts.hostname}{parts.path if self._log_paths else '/...'}"


class _UnreachableError(AuthBackendError):
    """An attempt failed before its answer was there; worth repeating where that is allowed."""


def _error_body(answer: _Answer) -> Mapping[str, Any]:
    try:
        data = parse_json(answer.body)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _without_url(error: Exception) -> Exception:
    """Return the reason inside an error of requests, whose own text would show the query."""
    import urllib3.exceptions

    inner = error.args[0] if error.args else None
    if isinstance(inner, urllib3.exceptions.MaxRetryError) and inner.reason is not None:
        reason: Exception = inner.reason
        return reason
    if isinstance(inner, Exception):
        return inner
    if isinstance(error, UnicodeError):
        return ValueError("a header or address is not text that HTTP can carry")
    return error
