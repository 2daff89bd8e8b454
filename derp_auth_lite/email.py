"""Sends the mails of an account's life: confirmation, recovery, sign-in links and notices.

:class:`EmailClient` renders a mail from its templates as text and HTML and hands it to a mail
server, a folder or a list. Sending is direct: whoever calls waits for the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._clock import Clock, utc_now
from ._mail.links import check_link, link_with_token
from ._mail.message import Content, Sender, build, mailbox
from ._mail.templates import TemplateSet
from ._mail.text import greeting_name, in_words, whole_minutes
from ._mail.transports import FolderTransport, MailTransport, MemoryTransport, SentMail
from .config import EmailConfig
from .exceptions import ConfigError

if TYPE_CHECKING:
    from email.message import Message

__all__ = [
    "LINK_VARIABLES",
    "RESERVED_VARIABLES",
    "EmailClient",
    "MailTransport",
    "SentMail",
    "in_words",
    "link_with_token",
]

LINK_VARIABLES: Mapping[str, str] = {
    "confirmation": "confirmation_url",
    "email_change": "email_change_url",
    "magic_link": "magic_link_url",
    "recovery": "recovery_url",
}
"""Mails that are nothing without a link, and their own name for the variable ``url``."""

_NOTICES = ("account_exists", "email_changed", "password_changed")

RESERVED_VARIABLES = frozenset(
    {"content", "email", "expires_in", "expires_minutes", "new_email", "page", "site_name"}
    | {"site_url", "subject", "token", "url", *LINK_VARIABLES.values()}
)
"""Variables that the library sets itself: an application's own may not carry these names."""


class EmailClient:
    """Renders and sends mails.

    Args:
        config: The sender, the server and the folder of replaced templates.
        transport: In place of the SMTP server that *config* names.
        clock: The time in the ``Date`` header.

    Raises:
        ConfigError: A setting cannot be used.
    """

    def __init__(
        self, config: EmailConfig, *, transport: MailTransport | None = None, clock: Clock = utc_now
    ) -> None:
        self._config = config
        self._clock = clock
        self._sender = Sender(config.from_email, config.site_name)
        self._templates = TemplateSet(config.templates_dir)
        self._transport = transport if transport is not None else _smtp(config)

    @classmethod
    def to_folder(
        cls,
        folder: str | Path,
        *,
        site_name: str = "derp_auth_lite",
        site_url: str = "http://localhost",
        from_email: str = "noreply@localhost",
        templates_dir: str | None = None,
        clock: Clock = utc_now,
    ) -> EmailClient:
        """Return a client that writes each mail as an ``.eml`` file into *folder*.

        The folder is made with the first mail, for its owner alone: the files hold live links.
        """
        config = _serverless(site_name, site_url, from_email, templates_dir)
        return cls(config, transport=FolderTransport(folder, clock=clock), clock=clock)

    @classmethod
    def in_memory(
        cls,
        *,
        site_name: str = "derp_auth_lite",
        site_url: str = "http://localhost",
        from_email: str = "noreply@localhost",
        templates_dir: str | None = None,
        clock: Clock = utc_now,
    ) -> EmailClient:
        """Return a client that keeps mails in :attr:`sent`, for tests."""
        config = _serverless(site_name, site_url, from_email, templates_dir)
        return cls(config, transport=MemoryTransport(), clock=clock)

    @property
    def site_name(self) -> str:
        """What mails call the site."""
        return self._config.site_name

    @property
    def sent(self) -> list[SentMail]:
        """What a client in memory or to a folder has sent, oldest first.

        Raises:
            TypeError: The client sends to a server, which gives nothing back.
        """
        if not isinstance(self._transport, FolderTransport | MemoryTransport):
            raise TypeError("Only a client in memory or to a folder knows what it has sent")
        return self._transport.sent

    @property
    def templates(self) -> list[str]:
        """The names of all mails that can be sent, those of ``templates_dir`` among them."""
        return self._templates.mails

    def send_email(
        self,
        *,
        subject: str,
        to_email: str,
        template: str,
        fallback_text: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Render a mail and hand it over now; return when it was accepted.

        Args:
            subject: One line.
            to_email: One address.
            template: ``confirmation`` or ``confirmation.html``; see :attr:`templates`.
            fallback_text: The text part, where the mail has no text template of its own.
            **kwargs: Variables of the template.

        Raises:
            EmailSendError: It was not accepted; the cause is chained, and ``permanent`` tells
                whether another attempt can be of use.
            ConfigError: A template is broken; the message names file and line.
            ValueError: There is no such template, or its link is missing or not allowed.
        """
        message = self.compose(
            template=template,
            to_email=to_email,
            subject=subject,
            variables=kwargs,
            fallback_text=fallback_text,
        )
        self.deliver(message, to_email)

    def compose(
        self,
        *,
        template: str,
        to_email: str,
        subject: str | None = None,
        variables: Mapping[str, object],
        message_id: str | None = None,
        fallback_text: str | None = None,
    ) -> Message:
        """Render a mail without sending it.

        Args:
            template: As in :meth:`send_email`.
            to_email: One address.
            subject: In place of the mail's own subject.
            variables: ``url`` is the one link, ``expires_in`` its lifetime (a timedelta, or words),
                ``first_name`` whom to greet; others are for templates of one's own.
            message_id: ``<left@right>``; the same one for each attempt lets a mail program see that
                two copies are one mail. Made anew by default.
            fallback_text: As in :meth:`send_email`.

        Raises:
            EmailSendError: Subject or address hold what no header may; always permanent.
            ConfigError: A template is broken; the message names file and line.
            ValueError: There is no such template, or its link is missing or not allowed.
        """
        name = self._known(template)
        known = self._variables(name, mailbox(to_email), variables)
        content = self._templates.render(name, known, subject=subject, fallback_text=fallback_text)
        return self._build(name, to_email, content, message_id)

    def deliver(self, message: Message, to_email: str) -> None:
        """Hand over a message of :meth:`compose`; return when it was accepted.

        Raises:
            EmailSendError: As in :meth:`send_email`.
            ValueError: The message is addressed to somebody else.
        """
        if message.get_all("To") != [to_email]:
            raise ValueError("The message is addressed to somebody else")
        self._transport.send(message, sender=self._sender.address, recipient=to_email)

    def new_message_id(self) -> str:
        """Return a ``Message-ID`` for :meth:`compose`, never given before."""
        return self._sender.new_message_id()

    def check(self) -> None:
        """Render every mail of the library with sample values, and read all others.

        Raises:
            ConfigError: Templates are broken; the message names each file and line.
        """
        problems = []
        for mail in self.templates:
            try:
                self._try_out(mail)
            except ConfigError as error:
                problems.append(error.message)
        if problems:
            raise ConfigError("\n".join(problems))

    def _try_out(self, mail: str) -> None:
        self._templates.compile(mail)
        if mail in LINK_VARIABLES or mail in _NOTICES:
            sample = {
                "url": "https://example.com/?token=sample",
                "expires_in": timedelta(hours=1),
                "first_name": "Ada",
            }
            self.compose(template=mail, to_email="ada@example.com", variables=sample)

    def _known(self, template: str) -> str:
        name = template.removesuffix(".html")
        if name not in self.templates:
            raise ValueError(
                f"There is no mail template {template!r}; there are {', '.join(self.templates)}"
            )
        return name

    def _variables(self, mail: str, email: str, given: Mapping[str, object]) -> dict[str, object]:
        """Return what the templates see: the site, the link by all its names, plain texts."""
        # str() takes the mark of trusted HTML off: whether to trust is the template's word.
        known = {
            key: str(value) if isinstance(value, str) else value for key, value in given.items()
        }
        known.setdefault("new_email", "")
        known["first_name"] = greeting_name(known.get("first_name"))
        known.update(_link(mail, known))
        known.update(_lifetime(known.get("expires_in")))
        return known | {
            "email": email,
            "site_name": self._config.site_name,
            "site_url": self._config.site_url,
        }

    def _build(self, kind: str, to_email: str, content: Content, message_id: str | None) -> Message:
        return build(
            sender=self._sender,
            to_email=to_email,
            content=content,
            date=self._clock(),
            message_id=message_id or self.new_message_id(),
            kind=kind,
        )


def _link(mail: str, given: Mapping[str, object]) -> dict[str, object]:
    alias = LINK_VARIABLES.get(mail)
    url = given.get("url") or given.get(alias or "")
    if url:
        check_link(str(url))
    elif alias:
        raise ValueError(f"The mail {mail} needs the variable url (or {alias})")
    return {"url": url or "", alias or "url": url or ""}


def _lifetime(expires_in: object) -> dict[str, object]:
    if isinstance(expires_in, timedelta):
        return {"expires_in": in_words(expires_in), "expires_minutes": whole_minutes(expires_in)}
    return {"expires_in": expires_in or "", "expires_minutes": None}


def _smtp(config: EmailConfig) -> MailTransport:
    # smtplib and ssl take 9 ms to import.
    from ._mail.smtp import SmtpTransport

    return SmtpTransport(config)


def _serverless(
    site_name: str, site_url: str, from_email: str, templates_dir: str | None
) -> EmailConfig:
    return EmailConfig(
        site_name=site_name,
        site_url=site_url,
        from_email=from_email,
        smtp_host="localhost",
        smtp_port=25,
        smtp_user="",
        smtp_password="",
        templates_dir=templates_dir,
    )
