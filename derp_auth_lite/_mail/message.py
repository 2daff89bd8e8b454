"""From a mail's parts to a message, and to the bytes that a server is given."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex
from typing import TYPE_CHECKING

from ..exceptions import ConfigError, EmailSendError

if TYPE_CHECKING:
    from email.message import Message
    from email.mime.text import MIMEText

__all__ = ["KIND_HEADER", "Content", "Sender", "build", "mailbox", "one_line", "to_bytes"]

KIND_HEADER = "X-Mail-Kind"
_MAX_LINE = 900  # RFC 5322, section 2.1.1, allows 998
_MAX_ADDRESS = 254  # RFC 5321, section 4.5.3.1.3, less the angle brackets
# The visible characters of ASCII but those that quote, comment on or separate addresses.
_WORD = r"[!#-'*+\--9=?A-Z^-~]+"
_MAILBOX = re.compile(f"{_WORD}@{_WORD}")
_MESSAGE_ID = re.compile(r"<?([A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+)>?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a mail says."""

    subject: str
    text: str
    html: str


class Sender:
    """Who our mails come from.

    Args:
        from_email: An address, or ``Name <address>``.
        site_name: The name that stands beside an address without one.

    Raises:
        ConfigError: *from_email* is not one ASCII address.
    """

    def __init__(self, from_email: str, site_name: str) -> None:
        from email.utils import getaddresses

        found = getaddresses([from_email])
        name, address = found[0] if len(found) == 1 else ("", "")
        try:
            self.address = mailbox(address)
            self.name = one_line(name or site_name, "name of the sender")
        except EmailSendError as error:
            raise ConfigError(
                "EmailConfig.from_email must be one address, alone or as Name <address>"
            ) from error
        self.domain = self.address.rpartition("@")[2]

    def new_message_id(self) -> str:
        """Return a ``Message-ID`` of its own, in the sender's domain (RFC 5322, section 3.6.4)."""
        return f"<{token_hex(16)}@{self.domain}>"


def mailbox(address: str) -> str:
    """Return *address* if it is exactly one ASCII mailbox.

    Raises:
        EmailSendError: It is not, permanently: two recipients in one text get no mail at all.
    """
    if len(address) > _MAX_ADDRESS or not _MAILBOX.fullmatch(address):
        raise EmailSendError("A mail needs exactly one plain address", permanent=True)
    return address


def build(
    *,
    sender: Sender,
    to_email: str,
    content: Content,
    date: datetime,
    message_id: str,
    kind: str,
) -> Message:
    """Return the message: text first, then HTML (RFC 2046, section 5.1.4).

    ``Auto-Submitted`` (RFC 3834) keeps vacation notices and other robots from answering. Headers
    are encoded here (RFC 2047): ``EmailMessage`` decodes a text such as ``=?utf-8?q?=0d=0aBcc:…?=``
    when it is set, and writes out the line break that was in it.

    Raises:
        EmailSendError: Subject or address cannot stand in a header, permanently.
        ValueError: *message_id* is not ``<left@right>``.
    """
    # The email package takes 17 ms to import.
    from email.mime.multipart import MIMEMultipart
    from email.utils import format_datetime

    message = MIMEMultipart("alternative")
    message["From"] = _named(sender.name, sender.address)
    message["To"] = mailbox(to_email)
    message["Subject"] = _encoded(one_line(content.subject, "subject"), "Subject")
    message["Date"] = format_datetime(date)
    message["Message-ID"] = _checked_id(message_id)
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message[KIND_HEADER] = one_line(kind, "name of the template")
    message.attach(_part(content.text, "plain"))
    message.attach(_part(content.html, "html"))
    return message


def to_bytes(message: Message) -> bytes:
    """Return *message* as SMTP carries it: 7 bits, CRLF, no line over 998 characters."""
    from email.policy import compat32

    wire = compat32.clone(linesep="\r\n", mangle_from_=False)
    return message.as_bytes(policy=wire)


def _part(text: str, subtype: str) -> MIMEText:
    """Return *text* as it is where lines may be as long, so that a file's link can be copied."""
    from email.charset import QP, Charset
    from email.mime.text import MIMEText

    if subtype == "plain" and text.isascii() and max(map(len, text.split("\n"))) <= _MAX_LINE:
        return MIMEText(text, subtype, "us-ascii")
    charset = Charset("utf-8")
    charset.body_encoding = QP
    return MIMEText(text, subtype, charset)  # type: ignore[arg-type]  # takes a Charset too


def _named(name: str, address: str) -> str:
    from email.utils import formataddr

    encoded = _encoded(name, "From")
    return formataddr((name, address)) if encoded == name else f"{encoded} <{address}>"


def _encoded(text: str, header: str) -> str:
    from email.header import Header

    if text.isascii() and "=?" not in text and len(text) <= 60:
        return text
    return Header(text, "utf-8", header_name=header).encode()


def one_line(value: str, what: str) -> str:
    """Return *value*, which *what* names, if a header may hold it.

    Raises:
        EmailSendError: It holds a line break, a control or half a character, permanently.
    """
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in value):
        raise EmailSendError(f"The {what} holds a line break or a control", permanent=True)
    return value


def _checked_id(message_id: str) -> str:
    match = _MESSAGE_ID.fullmatch(message_id)
    if match is None:
        raise ValueError("A Message-ID must read <left@right>")
    return f"<{match[1]}>"
