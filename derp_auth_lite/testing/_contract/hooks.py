"""What a backend fills in, and what the tests of its contract share."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from ...models import AuthResult, SessionInfo, TokenPair
from ..kit import PASSWORD, Request

__all__ = ["NEW_PASSWORD", "PAGE", "Hooks", "Mailed"]

PAGE = "https://app.test/page"
NEW_PASSWORD = "another correct horse battery"


@dataclass(frozen=True)
class Mailed:
    """What a page gets from a mailed link: its token, and what else the method takes."""

    token: str = field(repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


class Hooks:
    """The part of the contract that is not tests.

    Attributes:
        CANNOT: What the service cannot do: the method's name, and words of the reason that its
            ``NotImplementedError`` gives.
        BAD_IDS: Texts that are no user's id and must not reach the service.
    """

    CANNOT: ClassVar[Mapping[str, str]] = {}
    BAD_IDS: ClassVar[tuple[str, ...]] = (
        "",
        ".",
        "..",
        "../users",
        "a/b",
        "%2e%2e",
        "x" * 300,
        "\x00",
        "1 OR 1=1",
        "\ud800",
    )

    @pytest.fixture
    def auth(self) -> Any:
        """A connected client that takes addresses for proved at sign-up; magic links are on."""
        raise NotImplementedError

    @pytest.fixture
    def confirming(self) -> Any:
        """A connected client that wants addresses confirmed first."""
        raise NotImplementedError

    def mails_to(self, auth: Any, address: str) -> int:
        """Return how many mails an address has got."""
        raise NotImplementedError

    def mailed(self, auth: Any, address: str) -> Mailed:
        """Return what the page gets when the newest mail to an address is followed."""
        raise NotImplementedError

    def enter_by_provider(self, auth: Any, address: str) -> AuthResult:
        """Sign somebody in through a provider that vouches for an address."""
        raise NotImplementedError

    def unknown_id(self) -> str:
        """Return an id that nothing has."""
        return str(uuid.uuid4())

    # What the tests share

    @contextlib.contextmanager
    def offered(self, method: str) -> Iterator[None]:
        """Run a block that calls *method*; where that is not offered, it must say why."""
        reason = self.CANNOT.get(method)
        if reason is None:
            yield
            return
        with pytest.raises(NotImplementedError) as caught:
            yield
        assert reason in str(caught.value)

    def join(self, auth: Any, name: str = "ada", **fields: Any) -> AuthResult:
        """Sign somebody up."""
        result: AuthResult = auth.sign_up(email=address(name), password=PASSWORD, **fields)
        return result

    def session(self, auth: Any, tokens: TokenPair | None) -> SessionInfo:
        """Return the living session of a pair."""
        found = self.look(auth, tokens)
        assert found is not None
        return found

    def look(self, auth: Any, tokens: TokenPair | None) -> SessionInfo | None:
        """Authenticate with an access token."""
        assert tokens is not None
        found: SessionInfo | None = auth.authenticate(with_bearer(tokens.access_token))
        return found


def address(name: str) -> str:
    """Return somebody's address."""
    return f"{name}@example.com"


def with_bearer(token: str) -> Request:
    """Return a request that carries a token."""
    return Request({"Authorization": f"Bearer {token}"})
