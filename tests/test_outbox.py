from __future__ import annotations

import logging
import threading
from datetime import timedelta

import peewee
import pytest

from derp_auth_lite._local.delivery import Delivery
from derp_auth_lite._local.events import Events
from derp_auth_lite._local.mail_worker import MailWorker
from derp_auth_lite._local.outbox import _NEXT, LEASE, Outbox
from derp_auth_lite._statements import Statement
from derp_auth_lite._tables import Event, OutboxMail
from derp_auth_lite.email import RESERVED_VARIABLES, EmailClient
from derp_auth_lite.exceptions import EmailSendError, InvalidProfileError
from derp_auth_lite.models import UndeliveredMail

LIFETIMES = {"recovery": timedelta(hours=1), "password_changed": timedelta(days=4)}
ROWS = Statement(lambda: OutboxMail.select(OutboxMail.kind, OutboxMail.email, OutboxMail.due_at))
EVENTS = Statement(lambda: Event.select(Event.action, Event.outcome, Event.reason))
URL = "https://notes.example.com/reset"
MESSAGE_ID = "<a@notes.example.com>"
MISSING = "6f3f6c1e-58a5-4f6e-9d0c-6c0f5a2f8f11"


@pytest.fixture
def engine(auth):
    return auth._db


@pytest.fixture
def outbox(engine):
    return Outbox(engine, LIFETIMES)


def add(outbox, email="ada@example.com", kind="recovery", **given):
    return outbox.add(kind, email, message_id=MESSAGE_ID, **{"base_url": URL, **given})


class TestIntents:
    def test_an_intent_says_what_is_to_be_mailed_and_holds_no_token(self, outbox, clock):
        mail_id = add(outbox, subject="Hello", variables={"colour": "red", "list": [1, None]})
        intent = outbox.take()
        assert intent.id == mail_id
        assert (intent.kind, intent.email, intent.attempts) == ("recovery", "ada@example.com", 1)
        assert intent.expires_at == clock.now + timedelta(hours=1)
        assert intent.payload == {
            "message_id": MESSAGE_ID,
            "base_url": URL,
            "subject": "Hello",
            "variables": {"colour": "red", "list": [1, None]},
            "about": {},
        }

    @pytest.mark.parametrize("name", sorted(RESERVED_VARIABLES))
    def test_a_variable_with_a_name_of_the_librarys_own_is_a_programmers_mistake(
        self, outbox, engine, name
    ):
        with pytest.raises(TypeError, match=name):
            add(outbox, variables={name: "https://evil.example"})
        assert engine.fetch(ROWS) == []

    @pytest.mark.parametrize(
        "value", [object(), b"bytes", {1, 2}, float("nan"), timedelta(1), [[object()]]]
    )
    def test_a_variable_that_is_no_json_is_a_programmers_mistake(self, outbox, engine, value):
        with pytest.raises(TypeError, match="JSON"):
            add(outbox, variables={"mine": value})
        assert engine.fetch(ROWS) == []

    @pytest.mark.parametrize("value", ["\x00", "\ud800", ["\x00"], "x" * 70_000])
    def test_a_variable_that_cannot_be_stored_is_a_typed_error(self, outbox, value):
        with pytest.raises(InvalidProfileError):
            add(outbox, variables={"mine": value})

    @pytest.mark.parametrize("subject", ["a\r\nBcc: eve@example.com", "a\nb", "a\x00b", "a\u2028b"])
    def test_a_subject_with_a_line_break_is_refused_when_it_is_asked_for(self, outbox, subject):
        """SECURITY row 30."""
        with pytest.raises(EmailSendError) as caught:
            add(outbox, subject=subject)
        assert caught.value.permanent

    @pytest.mark.parametrize(
        "url", ["javascript:alert(1)", "/relative", "//host", "https://", "https://a b", ""]
    )
    def test_a_link_that_no_mail_may_hold_is_refused_when_it_is_asked_for(self, outbox, url):
        with pytest.raises(ValueError, match=r"[Ll]ink"):
            add(outbox, base_url=url)

    def test_an_intent_is_dropped_with_the_transaction_that_it_belongs_to(self, outbox, engine):
        with pytest.raises(RuntimeError), engine.transaction():
            add(outbox)
            raise RuntimeError
        assert outbox.next_due() is None


class TestLeases:
    def test_intents_are_taken_in_the_order_in_which_they_are_due(self, outbox, clock):
        emails = ["b@example.com", "a@example.com", "c@example.com"]
        for email in emails:
            add(outbox, email)
            clock.advance(seconds=1)
        taken = [outbox.take() for _ in range(4)]
        assert [intent and intent.email for intent in taken] == [*emails, None]

    def test_what_one_has_taken_nobody_else_takes_before_the_lease_ends(
        self, outbox, engine, clock
    ):
        add(outbox)
        other = Outbox(engine, LIFETIMES)
        mine = outbox.take()
        assert other.take() is None
        clock.advance(seconds=LEASE.total_seconds() - 1)
        assert other.take() is None
        clock.advance(seconds=1)
        theirs = other.take()
        assert (theirs.id, theirs.attempts) == (mine.id, 2)
        assert theirs.lease != mine.lease

    def test_who_lost_the_lease_changes_nothing(self, outbox, engine, clock):
        add(outbox)
        late = outbox.take()
        clock.advance(hours=1)
        now = outbox.take()
        before = engine.fetch(ROWS)
        assert not outbox.done(late)
        assert not outbox.postpone(late, timedelta(0), "late")
        assert not outbox.give_up(late, "late")
        assert engine.fetch(ROWS) == before
        assert outbox.done(now)
        assert engine.fetch(ROWS) == []

    def test_a_postponed_intent_is_due_after_its_delay(self, outbox, clock):
        add(outbox)
        outbox.postpone(outbox.take(), timedelta(seconds=10), "busy")
        clock.advance(seconds=9)
        assert outbox.take() is None
        assert outbox.next_due() == clock.now + timedelta(seconds=1)
        clock.advance(seconds=1)
        assert outbox.take().attempts == 2

    def test_hurrying_makes_waiting_ones_due_and_leaves_those_that_are_being_sent(self, outbox):
        add(outbox, "waits@example.com")
        outbox.postpone(outbox.take(), timedelta(hours=1), "busy")
        add(outbox, "taken@example.com")
        outbox.take()
        outbox.hurry()
        assert outbox.take().email == "waits@example.com"
        assert outbox.take() is None

    def test_the_search_for_the_next_intent_reads_the_index_and_sorts_nothing(self, engine):
        sql, values = _NEXT.bind(engine.database, engine.dialect, {"now": engine.now})
        if isinstance(engine.database, peewee.SqliteDatabase):
            plan = engine.database.execute_sql(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
        else:
            with engine.connection():
                # With hardly any rows PostgreSQL would rather read them all.
                engine.database.execute_sql("SET enable_seqscan = off")
                plan = engine.database.execute_sql(f"EXPLAIN {sql}", values).fetchall()
                engine.database.execute_sql("RESET enable_seqscan")
        text = str(plan)
        assert "due_at" in text
        assert "Index" in text or "INDEX" in text
        assert "Sort" not in text
        assert "TEMP B-TREE" not in text


class TestUndelivered:
    def test_what_was_given_up_is_listed_newest_first_and_never_taken(self, outbox, clock):
        ids = []
        for name in "ab":
            ids.append(add(outbox, f"{name}@example.com"))
            outbox.give_up(outbox.take(), f"reason {name}")
            clock.advance(seconds=1)
        assert outbox.take() is None
        assert outbox.next_due() is None
        listed = outbox.undelivered(limit=10)
        assert [mail.id for mail in listed] == ids[::-1]
        assert listed[1] == UndeliveredMail(
            id=ids[0],
            kind="recovery",
            email="a@example.com",
            attempts=1,
            reason="reason a",
            created_at=clock.now - timedelta(seconds=2),
            failed_at=clock.now - timedelta(seconds=2),
        )
        assert [mail.id for mail in outbox.undelivered(limit=1, offset=1)] == ids[:1]

    def test_retrying_one_gives_it_its_whole_time_again(self, outbox, clock):
        mail_id = add(outbox)
        outbox.give_up(outbox.take(), "refused")
        clock.advance(days=7)
        assert outbox.retry(mail_id)
        assert outbox.undelivered(limit=10) == []
        intent = outbox.take()
        assert intent.attempts == 1
        assert intent.expires_at == clock.now + timedelta(hours=1)

    def test_only_what_was_given_up_can_be_retried(self, outbox):
        waiting = add(outbox)
        assert not outbox.retry(waiting)
        assert not outbox.retry(MISSING)

    def test_a_month_later_it_is_purged_and_what_waits_is_not(self, outbox, engine, clock):
        add(outbox)
        outbox.give_up(outbox.take(), "refused")
        clock.advance(days=30)
        add(outbox, "waits@example.com")
        assert outbox.purge(10) == 0
        clock.advance(days=2)
        assert outbox.purge(10) == 1
        assert [row[1] for row in engine.fetch(ROWS)] == ["waits@example.com"]


class TestDelivery:
    @pytest.fixture
    def email(self, clock):
        return EmailClient.in_memory(clock=clock)

    def delivery(self, outbox, engine, email, resolve=None):
        link = {"url": f"{URL}?token=t", "expires_in": timedelta(hours=1)}
        return Delivery(outbox, Events(engine), email, resolve or (lambda intent: link))

    def test_a_mail_is_composed_with_the_intents_message_id_and_then_forgotten(
        self, outbox, engine, email
    ):
        add(outbox, subject="Forgot it?")
        assert self.delivery(outbox, engine, email).send_due() == 1
        (mail,) = email.sent
        assert (mail.to, mail.kind) == ("ada@example.com", "recovery")
        assert (mail.subject, mail.message_id) == ("Forgot it?", MESSAGE_ID)
        assert engine.fetch(ROWS) == []

    def test_an_intent_that_resolves_to_nobody_is_dropped_without_a_trace(
        self, outbox, engine, email, caplog
    ):
        caplog.set_level(logging.DEBUG)
        add(outbox)
        assert self.delivery(outbox, engine, email, lambda intent: None).send_due() == 0
        assert (email.sent, engine.fetch(ROWS)) == ([], [])
        ours = [record for record in caplog.records if record.name.startswith("derp_auth_lite")]
        assert (ours, engine.fetch(EVENTS)) == ([], [])

    def test_a_broken_template_gives_the_mail_up_with_its_file_and_line(
        self, outbox, engine, clock, tmp_path
    ):
        (tmp_path / "recovery.html").write_text("line one\n{{ nonsense }}\n")
        email = EmailClient.in_memory(templates_dir=str(tmp_path), clock=clock)
        add(outbox)
        assert self.delivery(outbox, engine, email).send_due() == 0
        (mail,) = outbox.undelivered(limit=10)
        assert "recovery.html, line 2" in mail.reason
        assert engine.fetch(EVENTS) == [("mail_failed", "failure", mail.reason)]

        (tmp_path / "recovery.html").unlink()
        mended = EmailClient.in_memory(clock=clock)
        assert outbox.retry(mail.id)
        assert self.delivery(outbox, engine, mended).send_due() == 1

    def test_a_mail_without_a_template_is_given_up(self, outbox, engine, clock, email):
        outbox = Outbox(engine, {"nonsense": timedelta(hours=1)})
        add(outbox, kind="nonsense")
        assert self.delivery(outbox, engine, email).send_due() == 0
        assert "no mail template" in outbox.undelivered(limit=1)[0].reason

    def test_a_transport_that_raises_anything_is_tried_again(self, outbox, engine, clock, caplog):
        class Broken:
            def send(self, message, *, sender, recipient):
                raise KeyError(recipient)

        email = EmailClient.in_memory(clock=clock)
        email._transport = Broken()
        add(outbox)
        delivery = self.delivery(outbox, engine, email)
        assert delivery.send_due() == 0
        assert outbox.undelivered(limit=1) == []
        assert delivery.seconds_until_due() > 0
        assert "KeyError" in caplog.text
        assert "ada@example.com" not in caplog.text

    def test_waits_double_from_five_seconds_to_five_minutes_with_some_jitter(
        self, outbox, engine, clock
    ):
        class Down:
            def send(self, message, *, sender, recipient):
                raise EmailSendError("down")

        email = EmailClient.in_memory(clock=clock)
        email._transport = Down()
        add(outbox, kind="password_changed", base_url=None)
        delivery = self.delivery(outbox, engine, email)
        waits = []
        for _ in range(10):
            delivery.send_due()
            waits.append(delivery.seconds_until_due())
            clock.advance(seconds=waits[-1])
        for wait, nominal in zip(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300, 300], strict=True):
            assert 0.75 * nominal <= wait <= 1.25 * nominal
        assert len({round(wait / 300, 4) for wait in waits[6:]}) > 1

    def test_a_mail_that_was_taken_while_the_database_could_not_be_told_is_not_sent_again(
        self, outbox, engine, clock
    ):
        class AndThenGone:
            def __init__(self):
                self.count = 0

            def send(self, message, *, sender, recipient):
                self.count += 1
                engine.disconnect()

        email = EmailClient.in_memory(clock=clock)
        email._transport = transport = AndThenGone()
        add(outbox)
        delivery = self.delivery(outbox, engine, email)
        with pytest.raises(Exception, match="not connected"):
            delivery.send_due()
        engine.connect()
        clock.advance(minutes=4)
        assert delivery.send_due() == 0
        assert transport.count == 1
        assert engine.fetch(ROWS) == []

    def test_a_limit_in_time_begins_no_further_mail(self, outbox, engine, email):
        add(outbox)
        assert self.delivery(outbox, engine, email).send_due(until=0.0) == 0
        assert email.sent == []

    def test_a_limit_in_time_may_be_endless(self, outbox, engine, email):
        add(outbox)
        assert self.delivery(outbox, engine, email).send_due(until=float("inf")) == 1

    def test_two_threads_of_one_process_never_send_at_once(self, outbox, engine, clock):
        class Counting:
            def __init__(self):
                self.now = self.most = self.sent = 0

            def send(self, message, *, sender, recipient):
                self.now += 1
                self.most = max(self.most, self.now)
                clock.advance(minutes=1)
                threading.Event().wait(0.005)
                self.now -= 1
                self.sent += 1

        email = EmailClient.in_memory(clock=clock)
        email._transport = transport = Counting()
        for number in range(10):
            add(outbox, f"a{number}@example.com", kind="password_changed", base_url=None)
        delivery = self.delivery(outbox, engine, email)
        threads = [threading.Thread(target=delivery.send_due) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (transport.sent, transport.most) == (10, 1)


class TestWorker:
    @pytest.fixture
    def email(self, clock):
        return EmailClient.in_memory(clock=clock)

    @pytest.fixture
    def worker(self, outbox, engine, email):
        link = {"url": f"{URL}?token=t", "expires_in": timedelta(hours=1)}
        worker = MailWorker(Delivery(outbox, Events(engine), email, lambda intent: link))
        yield worker
        worker.stop(0)

    def threads(self):
        return [thread for thread in threading.enumerate() if thread.name == "derp_auth_lite mail"]

    def test_its_thread_starts_with_the_first_call_and_sends_what_is_due(
        self, worker, outbox, email
    ):
        assert self.threads() == []
        add(outbox)
        worker.wake()
        worker.wake()
        (thread,) = self.threads()
        assert thread.daemon
        worker.stop()
        assert len(email.sent) == 1
        assert self.threads() == []

    def test_it_sends_what_comes_later_too(self, worker, outbox, email):
        for number in range(3):
            add(outbox)
            worker.wake()
            wait_until(lambda sent=number + 1: len(email.sent) == sent)

    def test_it_pauses_before_it_begins_so_that_the_answer_is_out_first(
        self, worker, outbox, email
    ):
        add(outbox)
        worker.wake()
        threading.Event().wait(0.03)
        assert email.sent == []

    def test_after_its_end_it_does_not_start_again(self, worker, outbox, email):
        worker.stop()
        add(outbox)
        worker.wake()
        assert self.threads() == []

    def test_a_worker_that_is_switched_off_never_starts(self, outbox, engine, email):
        worker = MailWorker(
            Delivery(outbox, Events(engine), email, lambda intent: None), automatic=False
        )
        add(outbox)
        worker.wake()
        assert self.threads() == []

    def test_it_survives_a_database_that_cannot_be_reached(
        self, worker, outbox, engine, email, caplog
    ):
        add(outbox)
        engine.disconnect()
        worker.wake()
        wait_until(lambda: "cannot be worked on" in caplog.text)
        engine.connect()
        worker.wake()
        wait_until(lambda: email.sent)

    def test_ending_waits_no_longer_than_it_was_told(self, outbox, engine, clock):
        hanging = threading.Event()

        class Hanging:
            def send(self, message, *, sender, recipient):
                hanging.wait(10)

        email = EmailClient.in_memory(clock=clock)
        email._transport = Hanging()
        worker = MailWorker(
            Delivery(outbox, Events(engine), email, lambda intent: {"url": f"{URL}?token=t"})
        )
        add(outbox)
        worker.wake()
        threading.Event().wait(0.3)
        worker.stop(0.1)
        assert len(self.threads()) == 1
        hanging.set()
        wait_until(lambda: not self.threads())


def wait_until(condition, seconds=10.0):
    tick = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        tick.wait(0.01)
    raise AssertionError("it did not come true")
