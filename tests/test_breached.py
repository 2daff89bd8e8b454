"""Breached passwords are asked for where that is switched on; who cannot be asked refuses none."""

from __future__ import annotations

import hashlib
import logging
import threading
import time

import pytest

from derp_auth_lite.config import Config, PasswordConfig
from derp_auth_lite.email import EmailClient
from derp_auth_lite.exceptions import PasswordValidationError

from .servers.loopback import LoopbackServer, Reply, free_port
from .support import PASSWORD, native_client
from .test_password import range_server

EMAIL = "ada@example.com"
BREACHED = "a pass phrase that leaked"
URL = "https://app.example/page"


def asking(url):
    return PasswordConfig(hash_profile="cheapest", breached=True, breached_range_url=url)


@pytest.fixture
def server():
    with range_server(BREACHED) as server:
        yield server


@pytest.fixture
def auth(make_auth, server):
    return make_auth(password=asking(f"{server.url}/range/"))


def reset(auth, user, password):
    auth.request_password_recovery(email=user.email, recovery_url=URL)
    auth.deliver_mail()
    return auth.reset_password(auth._email_client.sent[-1].token, password)


WAYS = {
    "sign_up": lambda auth, user, new: auth.sign_up(email="new@example.com", password=new),
    "create_user": lambda auth, user, new: auth.create_user(email="new@example.com", password=new),
    "set_password": lambda auth, user, new: auth.set_password(user_id=user.id, password=new),
    "change_password": lambda auth, user, new: auth.change_password(
        user_id=user.id, current_password=PASSWORD, new_password=new
    ),
    "reset_password": reset,
}
every_way = pytest.mark.parametrize("way", WAYS)


@every_way
def test_a_breached_password_is_refused_on_every_way_to_set_one(auth, server, way):
    """OWASP ASVS 5.0, 6.2.12."""
    user = auth.create_user(email=EMAIL, password=PASSWORD, confirmed=True)
    with pytest.raises(PasswordValidationError, match="data breach"):
        WAYS[way](auth, user, BREACHED)
    assert auth.sign_in_with_password(EMAIL, PASSWORD).tokens
    WAYS[way](auth, user, "a pass phrase that did not leak")
    assert len(server.calls) == 3


def test_nobody_is_asked_unless_it_is_switched_on(make_auth, server):
    off = PasswordConfig(hash_profile="cheapest", breached_range_url=server.url)
    make_auth(password=off).sign_up(email=EMAIL, password=BREACHED)
    assert server.calls == []


def test_a_sign_in_asks_nobody(auth, server):
    auth.create_user(email=EMAIL, password=PASSWORD)
    before = len(server.calls)
    auth.sign_in_with_password(EMAIL, PASSWORD)
    assert len(server.calls) == before


def test_nobody_waits_for_an_answer_inside_a_transaction(auth, server):
    inside = []
    answer = server.answer
    server.answer = lambda call: inside.append(auth._db._busy.copy()) or answer(call)
    user = auth.create_user(email=EMAIL, password=PASSWORD, confirmed=True)
    for way in ("sign_up", "set_password", "reset_password"):
        WAYS[way](auth, user, f"a pass phrase for {way}")
    assert inside == [set()] * 4


@pytest.mark.parametrize("fault", ["down", "silent", "error"])
def test_a_service_that_gives_no_answer_lets_the_password_pass_in_time_and_is_an_event(
    make_auth, fault, caplog
):
    caplog.set_level(logging.DEBUG)
    over = threading.Event()
    with LoopbackServer(lambda _: Reply(503, b"")) as server:
        if fault == "silent":
            server.answer = lambda _: over.wait(20) and Reply(200, b"")
        url = f"http://127.0.0.1:{free_port()}/" if fault == "down" else server.url
        auth = make_auth(password=asking(url))
        began = time.perf_counter()
        auth.sign_up(email=EMAIL, password=BREACHED)
        assert time.perf_counter() - began < 10
        over.set()
        auth.disconnect()
        auth.connect()
    failed = [
        event
        for event in auth.list_events_by_cursor(limit=100).data
        if event.action == "breached_check_failed"
    ]
    assert [(event.outcome, event.reason) for event in failed] == [("failure", "no_answer")]
    beginning = hashlib.sha1(BREACHED.encode()).hexdigest()[:5].upper()
    shown = repr(failed) + "".join(
        record.getMessage() for record in caplog.records if "derp_auth_lite" in record.name
    )
    assert "the breached-password check failed" in shown
    assert BREACHED not in shown
    assert beginning not in shown.upper()


def test_a_check_of_ones_own_takes_its_place(database, clock):
    from derp_auth_lite.native_client import NativeAuthClient

    base = native_client(database, clock)
    auth = NativeAuthClient(base.config, clock=clock, breached=lambda text: "leaked" in text)
    auth.set_db(base._db)
    with auth:
        with pytest.raises(PasswordValidationError, match="data breach"):
            auth.sign_up(email=EMAIL, password=BREACHED)
        auth.sign_up(email=EMAIL, password=PASSWORD)


def test_a_file_switches_it_on(tmp_path):
    file = tmp_path / "derp.toml"
    file.write_text(
        '[auth.native.jwt]\nsecret = "0123456789 0123456789 0123456789"\n'
        "[auth.native.password]\nbreached = true\n"
    )
    password = Config.load(file).auth.native.password
    assert password.breached
    assert password.breached_range_url == "https://api.pwnedpasswords.com/range/"


@every_way
@pytest.mark.parametrize("word", ["Lovelace", "countess", "Analytical Engines", "ada@example.com"])
def test_site_address_and_names_are_no_passwords_on_any_way_to_set_one(make_auth, clock, way, word):
    """OWASP ASVS 5.0, 6.1.2 and 6.2.11."""
    auth = make_auth()
    auth.set_email(EmailClient.in_memory(site_name="Analytical Engines", clock=clock))
    names = {"first_name": "Ada", "last_name": "Lovelace", "username": "countess"}
    user = auth.create_user(email=EMAIL, password=PASSWORD, confirmed=True, **names)
    password = f"{word}1852"
    ways = {
        **WAYS,
        "sign_up": lambda *_: auth.sign_up(email="ada@example.com", password=password, **names),
        "create_user": lambda *_: auth.create_user(
            email="ada@example.com", password=password, **names
        ),
    }
    with pytest.raises(PasswordValidationError, match="your address, your name"):
        ways[way](auth, user, password)
