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
    from email.message import EmailMessage
    from email.policy import EmailPolicy

__all__ = ["KIND_HEADER", "Content", "Sender", "build", "mailbox", "to_bytes"]

KIND_HEADER = "X-Mail-Kind"
_MAX_ADDRESS = 254  # RFC 5321, section 4.5.3.1.3, less the angle brackets
_MAILBOX = re.compile(r"[^\s@,;:<>()\[\]\\\"]+@[^\s@,;:<>()\[\]\\\"]+", re.ASCII)
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
        from email.utils import parseaddr

        name, address = parseaddr(from_email)
        try:
            self.address = mailbox(address)
            self.name = _one_line(name or site_name, "name of the sender")
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
    if len(address) > _MAX_ADDRESS or not address.isascii() or not _MAILBOX.fullmatch(address):
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
) -> EmailMessage:
    """Return the message: text first, then HTML (RFC 2046, section 5.1.4).

    ``Auto-Submitted`` (RFC 3834) keeps vacation notices and other robots from answering.

    Raises:
        EmailSendError: Subject or address cannot stand in a header, permanently.
        ValueError: *message_id* is not ``<left@right>``.
    """
    # The email package takes 17 ms to import.
    from email.headerregistry import Address
    from email.message import EmailMessage
    from email.utils import format_datetime

    message = EmailMessage(policy=_wire())
    message["From"] = Address(display_name=sender.name, addr_spec=sender.address)
    message["To"] = Address(addr_spec=mailbox(to_email))
    message["Subject"] = _one_line(content.subject, "subject")
    message["Date"] = format_datetime(date)
    message["Message-ID"] = _checked_id(message_id)
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message[KIND_HEADER] = _one_line(kind, "name of the template")
    message.set_content(content.text)
    message.add_alternative(content.html, subtype="html")
    return message


def to_bytes(message: EmailMessage) -> bytes:
    """Return *message* as SMTP carries it: 7 bits, CRLF, no line over 998 characters."""
    return message.as_bytes(policy=_wire())


def _wire() -> EmailPolicy[EmailMessage]:
    from email.policy import SMTP

    # 8-bit bodies need a server that offers 8BITMIME.
    return SMTP.clone(cte_type="7bit")


def _one_line(value: str, what: str) -> str:
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in value):
        raise EmailSendError(f"The {what} holds a line break or a control", permanent=True)
    return value


def _checked_id(message_id: str) -> str:
    match = _MESSAGE_ID.fullmatch(message_id)
    if match is None:
        raise ValueError("A Message-ID must read <left@right>")
    return f"<{match[1]}>"
