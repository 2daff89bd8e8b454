"""Ways to hand a mail over that need no server: a folder of files, and memory."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Protocol

from .._clock import Clock, utc_now
from ..exceptions import EmailSendError
from .links import token_in
from .message import KIND_HEADER, to_bytes

if TYPE_CHECKING:
    from email.message import Message, MIMEPart

__all__ = ["FolderTransport", "MailTransport", "MemoryTransport", "SentMail"]

_LINK = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s<>\"]+")


class MailTransport(Protocol):
    """Takes a finished message and hands it over, once."""

    def send(self, message: Message, *, sender: str, recipient: str) -> None:
        """Hand *message* over for *recipient*; return when it was accepted.

        Raises:
            EmailSendError: It was not accepted, or nobody knows; the cause is chained.
        """


@dataclass(frozen=True, kw_only=True)
class SentMail:
    """A mail as its recipient gets it. Its ``repr`` shows no link and no text."""

    to: str
    subject: str
    kind: str
    message_id: str
    text: str = field(repr=False)
    html: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    raw: bytes = field(repr=False)

    @classmethod
    def parse(cls, raw: bytes) -> SentMail:
        """Read a mail back from its bytes."""
        from email import message_from_bytes, policy

        message = message_from_bytes(raw, policy=policy.default)
        text, html = (_content(message.get_body((kind,))) for kind in ("plain", "html"))
        return cls(
            to=str(message["To"]),
            subject=str(message["Subject"]),
            kind=str(message[KIND_HEADER] or ""),
            message_id=str(message["Message-ID"]),
            text=text,
            html=html,
            headers={name: str(value) for name, value in message.items()},
            raw=raw,
        )

    @property
    def link(self) -> str | None:
        """The first link of the text, or None."""
        found = _LINK.search(self.text)
        return found[0] if found else None

    @property
    def token(self) -> str | None:
        """The one-time token in :attr:`link`, or None."""
        return token_in(self.link) if self.link else None


class MemoryTransport:
    """Keeps mails in a list, for tests."""

    def __init__(self) -> None:
        self.sent: list[SentMail] = []

    def send(self, message: Message, *, sender: str, recipient: str) -> None:  # noqa: ARG002 - the protocol
        """Append the mail to :attr:`sent`."""
        self.sent.append(SentMail.parse(to_bytes(message)))


class FolderTransport:
    """Writes each mail as an ``.eml`` file, which every mail program opens.

    The files hold live links: the folder is made for its owner alone (0700, files 0600, where the
    system knows modes). A file is written aside, synced and renamed: under its name it is whole.

    Args:
        folder: Made with the first mail.
        clock: The time in the files' names, which sort by it.
    """

    def __init__(self, folder: str | Path, *, clock: Clock = utc_now) -> None:
        self._folder = Path(folder)
        self._clock = clock
        self._number = count()

    @property
    def sent(self) -> list[SentMail]:
        """The mails in the folder, oldest first."""
        return [SentMail.parse(path.read_bytes()) for path in sorted(self._folder.glob("*.eml"))]

    def send(self, message: Message, *, sender: str, recipient: str) -> None:  # noqa: ARG002 - the protocol
        """Write the mail into a new file.

        Raises:
            EmailSendError: The disk or the folder refused it.
        """
        name = f"{self._clock():%Y%m%dT%H%M%S.%fZ}-{next(self._number):06d}-{token_hex(4)}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(name, to_bytes(message))
        except OSError as error:
            raise EmailSendError("The mail could not be written to its folder") from error

    def _write(self, name: str, content: bytes) -> None:
        aside = self._folder / f".{name}.part"
        try:
            with open(aside, "xb", opener=_for_the_owner) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self._folder / f"{name}.eml")
        except OSError:
            aside.unlink(missing_ok=True)
            raise
        _sync_folder(self._folder)


def _content(part: MIMEPart | None) -> str:
    return "" if part is None else str(part.get_content()).replace("\r\n", "\n")


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folders, and syncs renames itself
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
