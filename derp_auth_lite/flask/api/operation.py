"""What the API can do: each operation is declared once, for the check of requests and the document.

::

    signing_in = Operations("Signing in")

    @signing_in.add("POST", "/sign-in", body={"email": ADDRESS, "password": PASSWORD},
                    answers={200: Entered}, errors=(InvalidCredentialsError, RateLimitedError))
    def sign_in(email, password): ...
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ...exceptions import AuthBackendError, AuthError, UserNotFoundError
from .._csrf import SAFE_METHODS
from .._refusals import (
    InvalidRequestError,
    LoginRequiredError,
    MediaTypeError,
    OtherSiteError,
    SignInAgainError,
    TooLargeError,
)
from ..state import AuthState, state
from .fields import Field
from .reading import read_body, read_query

__all__ = ["Access", "Operation", "Operations"]

Handler = TypeVar("Handler", bound=Callable[..., Any])
Answers = Mapping[int, Any]

_IN_PATH = re.compile(r"\{(\w+)\}")


class Access(enum.Enum):
    """Who may call an operation."""

    ANYBODY = "anybody"
    SIGNED_IN = "who is signed in"
    RECENT = "who signed in recently"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path.

    Args:
        run: Does it, with all values of the request as keywords; returns a record, or ``None``.
        answers: The type of the record by status; ``None`` for an answer without a body.
        errors: What *run* may raise.
        offered: Whether an application has it.
    """

    name: str
    tag: str
    method: str
    path: str
    run: Callable[..., Any]
    access: Access
    query: Mapping[str, Field] = field(default_factory=dict)
    body: Mapping[str, Field] = field(default_factory=dict)
    answers: Answers
    errors: tuple[type[AuthError], ...] = ()
    offered: Callable[[AuthState], bool]

    @property
    def in_path(self) -> list[str]:
        """The names of the values in the path."""
        return _IN_PATH.findall(self.path)

    @property
    def refusals(self) -> tuple[type[AuthError], ...]:
        """Every error that the operation may answer with."""
        found = [*self.errors, InvalidRequestError, AuthBackendError]
        if self.method not in SAFE_METHODS:
            found += [OtherSiteError, MediaTypeError, TooLargeError]
        if self.access is not Access.ANYBODY:
            found.append(LoginRequiredError)
        if self.access is Access.RECENT:
            found.append(SignInAgainError)
        return tuple(dict.fromkeys(found))

    def __call__(self, in_path: Mapping[str, str]) -> tuple[Any, int]:
        """Check the request at hand, do what it asks for, and return record and status.

        Raises:
            AuthError: One of :attr:`refusals`.
        """
        self._let_in()
        values = {**read_query(self.query), **self._body(), **in_path}
        try:
            record = self.run(**values)
        except UserNotFoundError as error:
            if UserNotFoundError in self.errors:
                raise
            raise LoginRequiredError from error  # the account was deleted a moment ago
        return record, self._status_of(record)

    def _let_in(self) -> None:
        auth = state()
        session = auth.session() if self.access is not Access.ANYBODY else None
        if session is None:
            if self.access is not Access.ANYBODY:
                raise LoginRequiredError
            return
        if self.access is Access.RECENT and not auth.is_recent(session):
            raise SignInAgainError

    def _body(self) -> dict[str, Any]:
        return {} if self.method in SAFE_METHODS else read_body(self.body)

    def _status_of(self, record: Any) -> int:
        """Return the first status whose answer has a body if *record* is one, or none if not."""
        return next(
            status for status, kind in self.answers.items() if (kind is None) == (record is None)
        )


class Operations:
    """The operations of one topic."""

    def __init__(self, tag: str, *, offered: Callable[[AuthState], bool] = lambda _: True) -> None:
        self._tag = tag
        self._offered = offered
        self._all: list[Operation] = []

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._all)

    def add(
        self,
        method: str,
        path: str,
        *,
        answers: Answers,
        access: Access = Access.SIGNED_IN,
        offered: Callable[[AuthState], bool] | None = None,
        **declared: Any,
    ) -> Callable[[Handler], Handler]:
        """Declare what a function does; its name and docstring are the operation's."""

        def declare(run: Handler) -> Handler:
            operation = Operation(
                name=run.__name__,
                tag=self._tag,
                method=method,
                path=path,
                run=run,
                access=access,
                answers=answers,
                offered=offered or self._offered,
                **declared,
            )
            self._all.append(operation)
            return run

        return declare
