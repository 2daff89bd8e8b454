"""The handler that reads the logs of the whole run finds what must not be in them."""

from __future__ import annotations

import logging

import pytest

from derp_auth_lite.password import Argon2Hasher

from .log_scan import LOGGERS, LogScan, secrets_in
from .support import PASSWORD, SECRET


@pytest.fixture
def tokens(auth):
    return auth.sign_up(email="ada@example.com", password=PASSWORD).tokens


def test_it_finds_each_kind_of_secret(auth, tokens):
    state, binding = auth._flows.begin("google", redirect_uri=None, user_id=None)
    for secret in (
        PASSWORD,
        SECRET,
        tokens.access_token,
        tokens.refresh_token,
        state,
        binding,
        Argon2Hasher("cheapest").hash("x"),
        "pbkdf2_sha256$1000000$salt$hash",
        "GET https://app.example/reset?token=abcdef HTTP/1.1",
        "Authorization: Bearer abcdefghij",
    ):
        assert list(secrets_in(f"something happened: {secret}.")), secret


@pytest.mark.parametrize(
    "line",
    [
        "a limit was reached: sign_in_by_pair",
        "mail 6f3f6c1e-58a5-4f6e-9d0c-6c0f5a2f8f11 to a***@e***.com was given up",
        "the breached-password check failed: AuthBackendError",
        '127.0.0.1:80 "GET /.well-known/openid-configuration HTTP/1.1" 200 None',
        "database failed: OperationalError: no such table: auth_users",
        "",
    ],
)
def test_it_finds_none_where_there_is_none(line):
    assert list(secrets_in(line)) == []


def test_it_reads_arguments_and_tracebacks(tokens):
    scan = LogScan()
    logger = logging.getLogger("derp_auth_lite.of this test")
    logger.propagate = False  # or the scan of this run would find it too
    logger.addHandler(scan)
    try:
        logger.debug("a %s was made", tokens.refresh_token)
        try:
            int(tokens.access_token)
        except ValueError:
            logger.exception("it failed")
    finally:
        logger.removeHandler(scan)
    assert ["a token" in scan.found[0], "a JWT" in scan.found[1]] == [True, True]


def test_it_is_at_work_in_this_run():
    for name in LOGGERS:
        logger = logging.getLogger(name)
        assert logger.getEffectiveLevel() == logging.DEBUG
        assert any(isinstance(handler, LogScan) for handler in logger.handlers)
