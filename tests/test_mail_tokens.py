"""Tokens of mailed links: each does one thing, once, for as long as it lives."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

import peewee
import psycopg
import pytest

from derp_auth_lite._tables import TABLES
from derp_auth_lite.exceptions import (
    AuthBackendError,
    InvalidTokenError,
)
from derp_auth_lite.kv.disk import DiskKV
from derp_auth_lite.kv.memory import MemoryKV
from derp_auth_lite.kv.redis import RedisKV
from derp_auth_lite.native_client import NativeAuthClient

from .forks import run_in_forks
from .mail_support import (
    ADA,
    ON,
    OTHER_PASSWORD,
    PAGE,
    confirmed,
    email_change,
    failures,
    magic_link,
    recovery,
    sent,
    sign_up,
)
from .servers.redis_server import running_redis
from .support import PASSWORD, MovableClock, Request, native_client


@pytest.fixture
def auth(make_auth) -> NativeAuthClient:
    """A client that asks for confirmation and has magic links."""
    return make_auth(**ON)


class TestTokens:
    @pytest.mark.parametrize("kind", ["confirm", "reset", "enter", "change"])
    def test_a_token_of_one_kind_is_refused_by_every_other_call(self, auth, kind):
        """OWASP ASVS 5.0, 9.2.2."""
        user = sign_up(auth)
        make = {
            "confirm": lambda: sent(auth)[-1].token,
            "reset": lambda: recovery(auth),
            "enter": lambda: magic_link(auth),
            "change": lambda: email_change(auth, user),
        }
        token = make[kind]()
        for other, redeem in redeemers(auth).items():
            if other != kind:
                with pytest.raises(InvalidTokenError):
                    redeem(token)
        redeemers(auth)[kind](token)

    @pytest.mark.parametrize(
        "token", ["", "x", "A" * 43, "é" * 43, None, 1, b"A" * 43, "A" * 10_000, "\x00" * 43]
    )
    def test_what_is_no_token_is_refused_by_every_call(self, auth, token):
        for redeem in redeemers(auth).values():
            with pytest.raises(InvalidTokenError):
                redeem(token)

    def test_a_refusal_is_an_event_and_says_why_there_alone(self, auth):
        user = confirmed(auth)
        token = recovery(auth)
        auth.reset_password(token, OTHER_PASSWORD)
        with pytest.raises(InvalidTokenError):
            auth.reset_password(token, PASSWORD)
        auth.update_user(user_id=user.id, is_active=False)
        assert failures(auth) == [("password_reset", "failure", "unknown_token")]

    def test_inside_the_applications_transaction_no_token_is_redeemed(self, database, clock):
        application = applications_database(database)
        auth = native_client(application, clock, enable_magic_link=True)
        with auth, contextlib.closing(application):
            user = auth.sign_up(email=ADA, password=PASSWORD).user
            token = recovery(auth)
            with application.atomic():
                for redeem in redeemers(auth).values():
                    with pytest.raises(RuntimeError, match="own transaction"):
                        redeem(token)
                with pytest.raises(RuntimeError, match="own transaction"):
                    auth.deliver_mail()
            assert auth.reset_password(token, OTHER_PASSWORD).id == user.id

    def test_a_mail_asked_for_in_the_applications_transaction_shares_its_fate(
        self, database, clock
    ):
        application = applications_database(database)
        auth = native_client(application, clock)
        with auth, contextlib.closing(application):
            auth.sign_up(email=ADA, password=PASSWORD)
            with application.atomic() as transaction:
                auth.request_password_recovery(email=ADA, recovery_url=PAGE)
                transaction.rollback()
            assert sent(auth) == []
            with application.atomic():
                auth.request_password_recovery(email=ADA, recovery_url=PAGE)
            assert len(sent(auth)) == 1

    def test_of_32_processes_that_redeem_one_link_one_succeeds(self, database, tmp_path, clock):
        """SECURITY row 11."""
        folder = tmp_path / "kv"
        auth = native_client(database, clock, kv=DiskKV(folder, clock=clock), **ON)
        with auth:
            users = {name: sign_up(auth, f"{name}@example.com") for name in ("a", "b", "c", "d")}
            for user in users.values():
                auth.update_user(user_id=user.id, is_active=True)
            tokens = {
                "confirm": next(m.token for m in sent(auth) if m.to == users["a"].email),
                "reset": recovery(auth, users["b"].email),
                "enter": magic_link(auth, users["c"].email),
                "change": email_change(auth, users["d"], "changed@example.com"),
                "join": magic_link(auth, "new@example.com"),
            }
        won = run_in_forks(32, racer, redeem_all, database, str(folder), tokens)
        assert [sum(column) for column in zip(*won, strict=True)] == [1] * len(tokens)

    def test_the_kv_store_wiped_after_sending_loses_the_link_and_nothing_else(
        self, database, tmp_path, clock
    ):
        kv = DiskKV(tmp_path / "kv", clock=clock)
        with native_client(database, clock, kv=kv, **ON) as auth:
            confirmed(auth)
            token = recovery(auth)
            kv.disconnect()
            shutil.rmtree(tmp_path / "kv")
            kv.connect()
            with pytest.raises(InvalidTokenError):
                auth.reset_password(token, OTHER_PASSWORD)
            assert auth.reset_password(recovery(auth), OTHER_PASSWORD).email == ADA

    def test_the_kv_store_restored_from_a_backup_lets_no_link_be_used_twice(
        self, database, tmp_path, clock
    ):
        kv = DiskKV(tmp_path / "kv", clock=clock)
        with native_client(database, clock, kv=kv, **ON) as auth:
            user = confirmed(auth)
            tokens = {
                "reset": recovery(auth),
                "join": magic_link(auth, "new@example.com"),
            }
            kv.disconnect()
            shutil.copytree(tmp_path / "kv", tmp_path / "backup")
            kv.connect()
            auth.reset_password(tokens["reset"], OTHER_PASSWORD)
            auth.verify_magic_link(tokens["join"])

            kv.disconnect()
            shutil.rmtree(tmp_path / "kv")
            shutil.copytree(tmp_path / "backup", tmp_path / "kv")
            kv.connect()
            with pytest.raises(InvalidTokenError):
                auth.reset_password(tokens["reset"], PASSWORD)
            with pytest.raises(InvalidTokenError):
                auth.verify_magic_link(tokens["join"])
            assert ("password_reset", "failure", "spent_token") in failures(auth)
            assert auth.get_user(user.id).email == ADA

    def test_a_kv_store_that_is_down_is_no_invalid_token(self, database, clock):
        with running_redis() as url:
            auth = native_client(database, clock, kv=RedisKV(url), **ON)
            auth.connect()
            confirmed(auth)
            token = recovery(auth)
        for redeem in redeemers(auth).values():
            with pytest.raises(AuthBackendError):
                redeem(token)
        # Asking needs no KV store: the mail waits until it is back.
        auth.request_password_recovery(email=ADA, recovery_url=PAGE)
        assert auth.deliver_mail() == 0
        auth.set_kv(MemoryKV(clock=clock))
        assert auth.deliver_mail() == 1
        auth.disconnect()

    def test_nothing_in_a_dump_of_database_and_kv_store_can_be_presented(
        self, database, tmp_path, clock
    ):
        kv = DiskKV(tmp_path / "kv", clock=clock)
        with native_client(database, clock, kv=kv, **ON) as auth:
            user = sign_up(auth)
            tokens = [
                sent(auth)[-1].token,
                recovery(auth),
                magic_link(auth),
                magic_link(auth, "new@example.com"),
                email_change(auth, user),
            ]
            auth.request_password_recovery(email=ADA, recovery_url=PAGE)  # waits in the outbox
            dump = dump_of(database) + b"".join(
                path.read_bytes() for path in sorted((tmp_path / "kv").rglob("*")) if path.is_file()
            )
            assert len(dump) > 3000
            for token in tokens:
                assert token.encode() not in dump
            found = {
                part[start : start + 43].decode()
                for part in re.findall(rb"[A-Za-z0-9_-]{43,}", dump)
                for start in range(len(part) - 42)
            } | {text.decode() for text in re.findall(rb"[A-Za-z0-9_.=+/-]{16,}", dump)}
            assert len(found) > 50
            for text in found:
                for redeem in redeemers(auth).values():
                    with pytest.raises(InvalidTokenError):
                        redeem(text)
                assert auth.authenticate(Request(text)) is None
                with pytest.raises(InvalidTokenError):
                    auth.refresh_token(text)


def redeemers(auth):
    return {
        "confirm": auth.confirm_email,
        "reset": lambda token: auth.reset_password(token, OTHER_PASSWORD),
        "enter": auth.verify_magic_link,
        "change": auth.confirm_email_change,
    }


def racer(database, folder, tokens):
    """Return a client of a process that is to redeem *tokens*."""
    clock = MovableClock()
    auth = native_client(database, clock, kv=DiskKV(folder, clock=clock), **ON)
    auth.tokens = tokens
    return auth


def redeem_all(auth, number):
    won = []
    calls = redeemers(auth)
    for kind, token in auth.tokens.items():
        try:
            calls["enter" if kind == "join" else kind](token)
            won.append(1)
        except InvalidTokenError:
            won.append(0)
    return won


def applications_database(database):
    if database.startswith("postgresql://"):
        from playhouse.pool import PostgresqlDatabase

        return PostgresqlDatabase(database, prefer_psycopg3=True)
    return peewee.SqliteDatabase(database, pragmas={"foreign_keys": 1})


def dump_of(database):
    """Return all that the database holds, as a thief of its files would read it."""
    if not database.startswith("postgresql://"):
        return b"".join(
            path.read_bytes() for path in sorted(Path(database).parent.glob("auth.db*"))
        )
    with psycopg.connect(database) as connection:
        return b"\n".join(
            str(row).encode()
            for table in TABLES
            for row in connection.execute(f'SELECT * FROM "{table._meta.table_name}"').fetchall()
        )
