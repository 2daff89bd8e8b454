"""npm's oidc-provider, a certified OpenID Connect server, and a browser that signs in there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urljoin, urlsplit

import requests

from .node import install, node

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "REDIRECT_URI", "OIDCServers", "run", "sign_in"]

VERSION = "9.13.3"
CLIENT_ID = "app:1"
CLIENT_SECRET = "s3cret with spaces, 100 % & more"
REDIRECT_URI = "http://127.0.0.1:9/callback"
_CLIENT = {
    "client_id": CLIENT_ID,
    "client_secret": CLIENT_SECRET,
    "redirect_uris": [REDIRECT_URI],
    "grant_types": ["authorization_code"],
    "response_types": ["code"],
}
CLIENTS = [
    _CLIENT,
    {**_CLIENT, "client_id": "app-post", "token_endpoint_auth_method": "client_secret_post"},
    {
        **_CLIENT,
        "client_id": "desktop",
        "application_type": "native",
        "redirect_uris": ["http://127.0.0.1/callback"],
    },
]
ACCOUNTS = {
    "ada": {
        "given_name": "Ada",
        "family_name": "Lovelace",
        "name": "Ada Lovelace",
        "picture": "https://img.example.com/ada.png",
    },
    "squatter": {"email": "victim@example.com", "email_verified": False},
    "silent": {"email": "silent@example.com", "email_verified": None},
    "stringly": {"email": "stringly@example.com", "email_verified": "true"},
    "nomail": {"email": None, "email_verified": True},
}
"""Anybody can sign in; these have claims of their own."""


@dataclass(frozen=True)
class OIDCServers:
    """Two issuers: one keeps addresses for userinfo, one puts them into the id token."""

    standard: str
    talkative: str


@contextmanager
def run() -> Iterator[OIDCServers]:
    """Start the servers; they end with the block, and with this process."""
    command = [
        node(),
        str(Path(__file__).with_suffix(".mjs")),
        str(install("oidc-provider", VERSION)),
        json.dumps({"clients": CLIENTS, "accounts": ACCOUNTS}),
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"oidc-provider did not start: {' '.join(command[:3])}")
        yield OIDCServers(**json.loads(line))
        process.stdin.close()
        process.wait(10)


def sign_in(url: str, login: str, *, callback: str = REDIRECT_URI) -> dict[str, str]:
    """Open *url* like a browser, sign in, agree, and return the query of the callback."""
    with requests.Session() as browser:
        browser.trust_env = False
        answer = browser.get(url, allow_redirects=False, timeout=10)
        for _ in range(12):
            place = answer.headers.get("Location")
            if place is None:
                raise AssertionError(f"{answer.status_code}: {answer.text[:500]}")
            place = urljoin(answer.url, place)
            if place.startswith(callback):
                return dict(parse_qsl(urlsplit(place).query))
            answer = browser.get(place, allow_redirects=False, timeout=10)
            if answer.status_code == 200:
                prompt = "login" if 'value="login"' in answer.text else "consent"
                form = {"prompt": prompt, "login": login, "password": "any"}
                answer = browser.post(place, data=form, allow_redirects=False, timeout=10)
    raise AssertionError("the provider never came back")
