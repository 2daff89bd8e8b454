"""What ``app.config`` says about accounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..config import Config, EmailConfig
from ..exceptions import ConfigError

__all__ = ["LINKS", "FlaskAuthSettings"]

LINKS = ("confirm", "confirm_new_email", "enter", "reset_password")
"""What links in mails are for; each is the end of its page's endpoint, too."""

CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, kw_only=True)
class FlaskAuthSettings:
    """Settings of the extension; ``AUTH_`` and a field's name in capitals is its key.

    Args:
        url_prefix: Where the pages are.
        pages: Whether there are pages at all.
        api: Whether there is the JSON API, below ``api`` beside the pages. It is off unless asked
            for: an application with pages has no use for it, and what is not there is not attacked.
        links: Where links in mails lead, in place of our pages: paths of this site or whole URLs by
            :data:`LINKS`. ``token`` is added to their query.
        orgs: Whether there are pages for organizations.
        site_name: What the pages call the application.
        site_url: Begins the links in mails. Without it, and without an EmailConfig that has one,
            links are made only for a browser on this machine: a ``Host`` header is the sender's
            word, and a link made from it could lead a person's token to another site.
        after_sign_in: Where to go when nothing else was asked for; likewise *after_sign_out*.
        cookie_name: Of the session's cookie. It is prefixed with ``__Host-`` where it is Secure.
        cookie_secure: ``None``: everywhere but for a browser on this machine over plain HTTP.
        trusted_origins: Other origins whose pages may send requests with the cookie.
        api_prefixes: Paths below which refusals are JSON.
        fresh_minutes: How long after signing in the account's most important parts need no password
            again.
        csp: The Content-Security-Policy of our pages.
    """

    url_prefix: str = "/auth"
    pages: bool = True
    api: bool = False
    links: Mapping[str, str] = field(default_factory=dict)
    orgs: bool = True
    site_name: str = "Accounts"
    site_url: str | None = None
    after_sign_in: str = "/"
    after_sign_out: str = "/"
    cookie_name: str = "auth"
    cookie_secure: bool | None = None
    trusted_origins: tuple[str, ...] = ()
    api_prefixes: tuple[str, ...] = ("/api/",)
    fresh_minutes: float = 15
    csp: str = CSP

    @classmethod
    def read(cls, config: Mapping[str, Any], app_name: str) -> FlaskAuthSettings:
        """Read the settings from ``app.config``.

        Raises:
            ConfigError: A value cannot be used.
        """
        email = _email_config(config)
        values: dict[str, Any] = {"site_name": app_name}
        if email is not None:
            values |= {"site_name": email.site_name, "site_url": email.site_url}
        for name in cls.__dataclass_fields__:
            if config.get(f"AUTH_{name.upper()}") is not None:
                values[name] = config[f"AUTH_{name.upper()}"]
        for name in ("trusted_origins", "api_prefixes"):
            if isinstance(values.get(name), str):
                raise ConfigError(f"AUTH_{name.upper()} must be a list of texts")
            values[name] = tuple(values.get(name, getattr(cls, name)))
        prefix = str(values.get("url_prefix", cls.url_prefix))
        if not prefix.startswith("/") or prefix.endswith("/"):
            raise ConfigError("AUTH_URL_PREFIX must begin with a slash and not end with one")
        _check_links(values.get("links", {}))
        values["api_prefixes"] += (f"{prefix}/api/",)
        return cls(**values)


def _check_links(links: object) -> None:
    if not isinstance(links, Mapping) or not all(
        name in LINKS and str(place).startswith(("/", "https://", "http://"))
        for name, place in links.items()
    ):
        names = ", ".join(LINKS)
        raise ConfigError(f"AUTH_LINKS must be paths or URLs by any of the names {names}")


def _email_config(config: Mapping[str, Any]) -> EmailConfig | None:
    email = config.get("AUTH_EMAIL")
    if isinstance(email, EmailConfig):
        return email
    whole = config.get("AUTH_CONFIG")
    return whole.email if email is None and isinstance(whole, Config) else None
