"""Hashes of other systems: known answers made by those systems, and renewal at a sign-in."""

# ruff: noqa: E501  a hash is one line
from __future__ import annotations

import logging
import subprocess
import sys

import bcrypt
import pytest

from derp_auth_lite import InvalidCredentialsError
from derp_auth_lite._passwords import foreign
from derp_auth_lite.password import Argon2Hasher, is_known_hash
from derp_auth_lite.testing import make_user, open_test_auth

PASSWORD = "correct horse bättery"
# Made by Django, Werkzeug 3.1, bcrypt, passlib 1.7 and argon2-cffi from PASSWORD, with few rounds; Django 6.1 and
# Werkzeug 3.1 verify them.
KNOWN = {
    "django pbkdf2": "pbkdf2_sha256$1000$saltSALTsalt12$jjbvO9IhWPpKxS0aPqSt1IYUWWgGv/GXtBKggBU4ngU=",
    "django pbkdf2 sha1": "pbkdf2_sha1$1000$saltSALTsalt12$Cc0dIH4F60Qi1Cl/ZRDKtYGiP7g=",
    "django scrypt": "scrypt$16$saltSALTsalt12$8$5$nCVhgAxhZ1wIiikqiru11elE9xuNhUOLp64QpmKeMQjbbCgGZa6D9DDGjjxAvgmfl/y2WZkYNWIMTNsfapOltA==",
    "django argon2": "argon2$argon2id$v=19$m=8,t=1,p=1$c2FsdFNBTFRzYWx0MTI$UVjnJiaNQQBR89Hwwt/XI1LmyPpz3AyipLo3WjaFjxM",
    "django bcrypt_sha256": "bcrypt_sha256$$2b$04$cfigdiZFaVdAsNjmuWSdlOJxgGh4N01PqQNCd3C6N2TAXC5m1OPS6",
    "django bcrypt": "bcrypt$$2b$04$8QTNbWHgU5ghTLUjkT2ohedDYvWpTQzhes3F.7z0qcRJTbEuSep1S",
    "werkzeug scrypt": "scrypt:1024:8:1$qRIbZzTf0RPmgr6q$cf90cfe4c6cf4f9e8ce13d27d655263100079fddb5b1be91c9f49798fc7ca0209dd9e1f366c32deb4b5bdbd68c5c7e18882f94dbd20de1186ebbd4bbc2468ffe",
    "werkzeug pbkdf2": "pbkdf2:sha256:1000$6b8nA9Grs4SU8kWX$2860fb39a74ef4d647548617144d879d23723cf662f45a7efd6d954955d1522e",
    "werkzeug pbkdf2 sha512": "pbkdf2:sha512:1000$DgumjYbCXQyE2XCx$4595da71e066fbcfb017274110b4fcb5df62af630c3312b6bf7e5084832d5d9b16da1c2045cb5be26e2b16b962464d39e03c96376e292442fa68446391a07937",
    "bcrypt": "$2b$04$kYmxVBo6/9niiiePmTgKW.JDIBbeYZTJoyUj8RAxKj1wA2hAi/9t.",
    "bcrypt 2a": "$2a$04$TB5rcYxgVt1npXFSlByUFOEsksNSLt3SslEwzHgnLX6jp9rT/3HaK",
    "passlib pbkdf2": "$pbkdf2-sha256$1000$816r9X7PmdNaa631nnOO0Q$q7IOO3AjjpEE65NAGbaNs.RwwxtrwCNitLYgHgoBLSI",
    "argon2-cffi": "$argon2id$v=19$m=16,t=2,p=2$/viHmE7Mk/ZwfdKlQpy9Ow$YEJfpSWH0sFKqi7H2mL8uR7bEgQS5bZV3zVRPDzYdoY",
}


@pytest.fixture
def hasher():
    return Argon2Hasher("cheapest")


@pytest.mark.parametrize("hashed", KNOWN.values(), ids=KNOWN)
class TestKnownAnswers:
    def test_the_right_password_matches(self, hasher, hashed):
        assert hasher.verify(PASSWORD, hashed)

    @pytest.mark.parametrize("wrong", ["", "correct horse battery", PASSWORD + " ", "\0", None])
    def test_no_other_does(self, hasher, hashed, wrong):
        assert not hasher.verify(wrong, hashed)

    def test_it_is_known_and_to_be_renewed(self, hasher, hashed):
        assert is_known_hash(hashed)
        assert hasher.needs_rehash(hashed)

    def test_a_sign_in_renews_it(self, hashed):
        with open_test_auth() as auth:
            user = make_user(auth, email="ada@example.com")
            record = auth._accounts.by_id(user.id)
            auth._accounts.set_password(record, hashed)
            with pytest.raises(InvalidCredentialsError):
                auth.sign_in_with_password("ada@example.com", "wrong")
            assert auth._accounts.by_id(user.id).password_hash == hashed
            auth.sign_in_with_password("ada@example.com", PASSWORD)
            assert auth._accounts.by_id(user.id).password_hash.startswith("$argon2id$v=19$m=8,")
            auth.sign_in_with_password("ada@example.com", PASSWORD)


@pytest.mark.parametrize(
    "hashed",
    [
        "pbkdf2_sha256$0$salt$" + "A" * 43 + "=",
        "pbkdf2_sha256$99999999$salt$" + "A" * 43 + "=",
        "scrypt:8388608:8:1$salt$" + "0" * 128,
        "scrypt:16383:8:1$salt$" + "0" * 128,
        "scrypt:2:99999999:1$salt$" + "0" * 128,
        "$2b$31$" + "a" * 53,
    ],
)
def test_a_cost_beyond_reason_is_refused_at_once(hasher, hashed, caplog):
    with caplog.at_level(logging.WARNING):
        assert not hasher.verify(PASSWORD, hashed)
    assert not is_known_hash(hashed)
    assert "cannot be verified" in caplog.text
    assert hashed not in caplog.text


@pytest.mark.parametrize("hashed", ["", "plain", "md5$salt$0", "pbkdf2:md5:1$a$0", "$1$a$b", "!"])
def test_what_no_system_made_is_not_known(hasher, hashed):
    assert not is_known_hash(hashed)
    assert not hasher.verify(PASSWORD, hashed)


@pytest.mark.parametrize(
    "hashed",
    [
        "flask_security$",
        "flask_security$$",
        "flask_security$AAAAA$$2b$04$" + "a" * 53,
        "flask_security$c2FsdA==$rubbish",
        "flask_security$c2FsdA==$flask_security$c2FsdA==$rubbish",
        "$pbkdf2-sha256$1000$a$" + "a" * 43,
    ],
)
def test_a_damaged_wrap_refuses_and_raises_nothing(hasher, hashed):
    assert not hasher.verify(PASSWORD, hashed)


def test_bcrypt_saw_no_more_than_72_bytes_of_a_password(hasher):
    long = "x" * 100
    assert hasher.verify(long, bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4)).decode())


def test_without_the_extra_bcrypt_a_line_says_what_to_install():
    code = """
import sys
sys.modules["bcrypt"] = None
from derp_auth_lite._passwords import foreign
from derp_auth_lite import ConfigError
foreign.require_package("scrypt:2:8:1$salt$" + "0" * 128)
foreign.require_package("pbkdf2_sha256$1000$2abc$" + "A" * 44)
hashed = "$2b$04$" + "a" * 53
assert foreign.matches("x", hashed) is None
try:
    foreign.require_package(hashed)
except ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "derp_auth_lite[bcrypt]"' in done.stdout


def test_with_the_extra_nothing_is_missing():
    for prefix in ("", "bcrypt$", "bcrypt_sha256$"):
        foreign.require_package(prefix + "$2b$04$" + "a" * 53)


def test_a_hash_that_cannot_be_verified_costs_one_run_of_argon2(hasher, monkeypatch):
    """As a damaged one does: where bcrypt is not installed, time tells nothing of its own."""
    runs = []
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    monkeypatch.setattr(
        Argon2Hasher, "_run", lambda self, text, hashed: runs.append(hashed) or False
    )
    assert not hasher.verify(PASSWORD, KNOWN["bcrypt"])
    assert len(runs) == 1
    assert not hasher.verify(PASSWORD, KNOWN["werkzeug scrypt"] + "0")
    assert len(runs) == 2
