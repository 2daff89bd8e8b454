"""What a stranger learns by asking for a link, and what a link may not be asked for with."""

from __future__ import annotations

import gc
import logging
import statistics
import time

import pytest

from derp_auth_lite.email import EmailClient
from derp_auth_lite.exceptions import (
    ConfigError,
    EmailSendError,
    InvalidEmailError,
    InvalidTokenError,
)
from derp_auth_lite.kv.memory import MemoryKV
from derp_auth_lite.native_client import NativeAuthClient

from .mail_support import (
    ADA,
    EVE,
    INTENTS,
    ON,
    OTHER_PASSWORD,
    PAGE,
    confirmed,
    recovery,
    sent,
    sign_up,
)
from .servers.smtp_server import SmtpServer
from .support import PASSWORD, native_client, native_config


@pytest.fixture
def auth(make_auth) -> NativeAuthClient:
    """A client that asks for confirmation and has magic links."""
    return make_auth(**ON)


class TestSilence:
    """What a stranger learns by asking: nothing."""

    def test_known_unknown_confirmed_and_disabled_addresses_leave_the_same_trace(self, auth):
        confirmed(auth, ADA)
        disabled = confirmed(auth, EVE)
        auth.update_user(user_id=disabled.id, is_active=False)
        sent(auth)
        for email in (ADA, EVE, "unknown@example.com"):
            assert auth.request_password_recovery(email=email, recovery_url=PAGE) is None
            assert auth.resend_confirmation_email(email=email, confirmation_url=PAGE) is None
            assert auth.sign_in_with_magic_link(email=email, magic_link_url=PAGE) is None
        waiting = auth._db.fetch(INTENTS)
        assert sorted(waiting) == sorted(
            (kind, email)
            for kind in ("recovery", "confirmation", "magic_link")
            for email in (ADA, EVE, "unknown@example.com")
        )

    @pytest.mark.timing
    @pytest.mark.parametrize("fault", ["hangs", "refuses"])
    def test_with_a_mail_server_that_hangs_or_fails_known_and_unknown_get_the_same_in_no_time(
        self, database, clock, fault
    ):
        """Less than 20 ms, and the same, in medians of 200."""
        with SmtpServer() as server:
            if fault == "hangs":
                server.hang("connect")
            else:
                server.answer("rcpt", "550 5.1.1 no such user")
            email = EmailClient(server.config(), transport=server.transport(), clock=clock)
            auth = native_client(database, clock, email=email, mail_worker=True, **ON)
            with auth:
                auth.create_user(email=ADA, password=PASSWORD, confirmed=True)
                spans = {ADA: [], "unknown@example.com": []}
                gc.collect()
                for number in range(200):
                    for address in list(spans)[:: 1 if number % 2 else -1]:
                        begun = time.perf_counter()
                        answer = auth.request_password_recovery(email=address, recovery_url=PAGE)
                        spans[address].append(time.perf_counter() - begun)
                        assert answer is None
                known, unknown = (statistics.median(times) for times in spans.values())
                assert max(known, unknown) < 0.020
                # Neighbours on the machine disturb both alike; a look-up or a mail would show.
                assert abs(known - unknown) < 0.3 * max(known, unknown)
                server.stop()
                auth.set_email(None)  # else it would try to send the rest before it ends

    def test_logs_show_no_address_no_token_and_no_line_of_an_attacker(
        self, database, clock, caplog
    ):
        """SECURITY row 31."""
        caplog.set_level(logging.DEBUG)
        with SmtpServer() as server:
            server.answer("rcpt", "550 5.1.1 ada@example.com\x1b[31m unknown")
            email = EmailClient(server.config(), transport=server.transport(), clock=clock)
            with native_client(database, clock, email=email, **ON) as auth:
                sign_up(auth)
                auth.deliver_mail()
                server.answer("rcpt", "451 4.7.1 ada@example.com later")
                auth.request_password_recovery(email=ADA, recovery_url=PAGE)
                auth.deliver_mail()
                server.heal()
                auth.deliver_mail()
                token = server.received[-1].mail.token
                with pytest.raises(InvalidTokenError):
                    auth.confirm_email(token)
                auth.reset_password(token, OTHER_PASSWORD)
                with pytest.raises(InvalidEmailError):
                    auth.request_password_recovery(
                        email="v@x\r\nERROR root: all is lost", recovery_url=PAGE
                    )
        # The server of the test logs all that it hears.
        logged = [r.getMessage() for r in caplog.records if r.name not in {"mail.log", "asyncio"}]
        assert any("a***@e***.com" in line for line in logged)
        secrets = [ADA, token, PASSWORD, "ERROR root", "\x1b", "\r", "\n"]
        assert [line for line in logged if any(secret in line for secret in secrets)] == []


class TestBadInput:
    @pytest.mark.parametrize(
        "address",
        [
            "v@x.example, a@evil.example",
            "v@x.example\r\nBcc: a@evil.example",
            "v@x.example;a@evil.example",
            "Victim <v@x.example>",
            "v\u212a@x.example",
            "v@\u212a.example",
            "v\uff20x.example",
            "",
            "v",
        ],
    )
    def test_whatever_is_not_one_plain_address_gets_no_mail(self, auth, address):
        """SECURITY row 29."""
        asks = [
            lambda: auth.request_password_recovery(email=address, recovery_url=PAGE),
            lambda: auth.resend_confirmation_email(email=address, confirmation_url=PAGE),
            lambda: auth.sign_in_with_magic_link(email=address, magic_link_url=PAGE),
            lambda: sign_up(auth, address),
        ]
        for ask in asks:
            with pytest.raises(InvalidEmailError):
                ask()
        assert auth._db.fetch(INTENTS) == []

    def test_mail_goes_to_the_stored_form_of_the_address(self, auth):
        """SECURITY row 29."""
        sign_up(auth, "Ada@EXAMPLE.com")
        auth.request_password_recovery(email="ADA@example.COM", recovery_url=PAGE)
        assert {mail.to for mail in sent(auth)} == {ADA}

    @pytest.mark.parametrize(
        ("page", "link"),
        [
            (f"{PAGE}?lang=de&x=1", f"{PAGE}?lang=de&x=1&token="),
            (f"{PAGE}?token=old&x=1", f"{PAGE}?x=1&token="),
            ("https://notes.example.com/#/reset", "https://notes.example.com/?token="),
            ("myapp://confirm", "myapp://confirm?token="),
        ],
    )
    def test_the_token_is_merged_into_the_pages_url(self, auth, page, link):
        """SECURITY row 30."""
        confirmed(auth)
        auth.request_password_recovery(email=ADA, recovery_url=page)
        mail = sent(auth)[-1]
        assert mail.link.startswith(link)
        assert auth.reset_password(mail.token, OTHER_PASSWORD).email == ADA

    @pytest.mark.parametrize("subject", ["Hi\r\nBcc: a@evil.example", "Hi\nthere", "a\x00b"])
    def test_a_subject_with_a_line_break_is_a_typed_error(self, auth, subject):
        """SECURITY row 30."""
        with pytest.raises(EmailSendError):
            auth.request_password_recovery(email=ADA, recovery_url=PAGE, recovery_subject=subject)
        with pytest.raises(EmailSendError):
            auth.sign_up(
                email=ADA, password=PASSWORD, confirmation_url=PAGE, confirmation_subject=subject
            )
        assert auth.count_users() == 0
        assert auth._db.fetch(INTENTS) == []

    @pytest.mark.parametrize("name", ["url", "recovery_url", "token", "expires_in", "site_name"])
    def test_a_variable_cannot_take_the_place_of_the_librarys_own(self, auth, name):
        for ask, page in (
            (auth.request_password_recovery, "recovery_url"),
            (auth.resend_confirmation_email, "confirmation_url"),
        ):
            if name != page:
                with pytest.raises(TypeError):
                    ask(**{"email": ADA, page: PAGE, name: "https://evil.example"})

    def test_a_variable_that_is_no_json_is_a_programmers_mistake(self, auth):
        with pytest.raises(TypeError, match="JSON"):
            auth.request_password_recovery(email=ADA, recovery_url=PAGE, mine=object())

    def test_variables_and_subject_reach_a_template_of_ones_own(self, make_auth, tmp_path, clock):
        (tmp_path / "recovery.html").write_text("<p>{{ url }} for {{ shop['name'] }}</p>")
        auth = make_auth()
        auth.set_email(EmailClient.in_memory(templates_dir=str(tmp_path), clock=clock))
        auth.sign_up(email=ADA, password=PASSWORD)
        auth.request_password_recovery(
            email=ADA, recovery_url=PAGE, recovery_subject="Lost it?", shop={"name": "A & B"}
        )
        mail = sent(auth)[-1]
        assert mail.subject == "Lost it?"
        assert "for A &amp; B" in mail.html

    def test_a_subject_template_of_ones_own_has_the_word_unless_the_caller_has(
        self, make_auth, tmp_path, clock
    ):
        (tmp_path / "recovery.subject.txt").write_text("Passwort vergessen?")
        auth = make_auth()
        auth.set_email(EmailClient.in_memory(templates_dir=str(tmp_path), clock=clock))
        auth.sign_up(email=ADA, password=PASSWORD)
        recovery(auth)
        assert sent(auth)[-1].subject == "Passwort vergessen?"

    def test_without_an_email_client_the_call_says_what_to_pass(self, database, clock):
        auth = NativeAuthClient(native_config(**ON), clock=clock)
        auth.set_db(native_client(database, clock)._db)
        auth.set_kv(MemoryKV(clock=clock))
        with auth:
            for ask in (
                lambda: sign_up(auth),
                lambda: auth.request_password_recovery(email=ADA, recovery_url=PAGE),
                lambda: auth.resend_confirmation_email(email=ADA, confirmation_url=PAGE),
                lambda: auth.sign_in_with_magic_link(email=ADA, magic_link_url=PAGE),
                auth.deliver_mail,
            ):
                with pytest.raises(ConfigError, match="email="):
                    ask()
            # A notice is no reason to refuse a new password.
            user = auth.create_user(email=ADA, password=PASSWORD)
            auth.change_password(
                user_id=user.id, current_password=PASSWORD, new_password=OTHER_PASSWORD
            )

    @pytest.mark.parametrize("order", ["dke", "ked", "edk", "dek"])
    def test_the_order_in_which_the_parts_are_set_does_not_matter(self, database, clock, order):
        parts = native_client(database, clock)
        auth = NativeAuthClient(native_config(**ON), clock=clock, mail_worker=False)
        for part in order:
            if part == "d":
                auth.set_db(parts._db)
            elif part == "k":
                auth.set_kv(parts._kv_client)
            else:
                auth.set_email(parts._email_client)
        with auth:
            assert confirmed(auth).email == ADA
