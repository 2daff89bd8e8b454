"""The mail client: links, words, headers, and the ways to send that need no server."""

from __future__ import annotations

import os
import pickle
import re
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.header import decode_header
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derp_auth_lite.config import EmailConfig
from derp_auth_lite.email import (
    LINK_VARIABLES,
    RESERVED_VARIABLES,
    EmailClient,
    SentMail,
    in_words,
    link_with_token,
)
from derp_auth_lite.exceptions import AuthError, ConfigError, EmailSendError

from .support import MovableClock

LINK = "https://notes.example.com/confirm?token=a-token"


def client(**site: str) -> EmailClient:
    site.setdefault("site_name", "Lovelace Notes")
    site.setdefault("site_url", "https://notes.example.com")
    site.setdefault("from_email", "noreply@notes.example.com")
    return EmailClient.in_memory(**site)


def confirmation(email: EmailClient, subject: str = "Confirm", **variables: object) -> SentMail:
    email.send_email(
        subject=subject,
        to_email="ada@example.com",
        template="confirmation",
        **{"url": LINK, **variables},
    )
    return email.sent[-1]


def display_name(mail: SentMail) -> str:
    """Return the sender's name, read as RFC 2047 says: neighbouring encoded words join."""
    header = re.search(rb"^From: (.*?)\r\n(?=\S)", mail.raw, re.MULTILINE | re.DOTALL)
    assert header is not None
    unfolded = re.sub(r"\r\n(?=\s)", "", header[1].decode())
    name = unfolded.rpartition(" <")[0]
    if not name.startswith("=?"):
        return re.sub(r"\\(.)", r"\1", name.strip('"'))
    return "".join(
        part.decode(charset or "ascii") if isinstance(part, bytes) else part
        for part, charset in decode_header(name)
    )


class TestLinks:
    @pytest.mark.parametrize(
        ("base", "expected"),
        [
            ("https://a.example", "https://a.example?token=T"),
            ("https://a.example/", "https://a.example/?token=T"),
            ("https://a.example/c?", "https://a.example/c?token=T"),
            ("https://a.example/c?next=%2Fhome", "https://a.example/c?next=%2Fhome&token=T"),
            ("https://a.example/c#part", "https://a.example/c?token=T#part"),
            ("https://a.example/c?x=1#a?b", "https://a.example/c?x=1&token=T#a?b"),
            ("https://a.example/c?token=old&x=1", "https://a.example/c?x=1&token=T"),
            ("https://a.example/c?tok%65n=old", "https://a.example/c?token=T"),
            ("https://a.example/c?x&y=", "https://a.example/c?x&y=&token=T"),
            ("http://localhost:5000/c", "http://localhost:5000/c?token=T"),
            ("http://[::1]:5000/c", "http://[::1]:5000/c?token=T"),
            ("https://bücher.example/c", "https://bücher.example/c?token=T"),
            ("HTTPS://a.example/c", "HTTPS://a.example/c?token=T"),
            ("myapp://confirm", "myapp://confirm?token=T"),
            ("myapp:///confirm?x=1", "myapp:///confirm?x=1&token=T"),
        ],
    )
    def test_a_token_joins_the_query(self, base, expected):
        assert link_with_token(base, "T") == expected

    def test_a_token_is_quoted(self):
        assert link_with_token("https://a.example", "a&b=c#d") == (
            "https://a.example?token=a%26b%3Dc%23d"
        )

    @pytest.mark.parametrize(
        "base",
        [
            *("", "/confirm", "confirm", "//a.example/c", "a.example/c", "?x=1", "#x"),
            *("https:/a.example", "https:a.example", "https://", "https:///c", "http://:80/c"),
            *("javascript:alert(1)", "javascript://a.example/%0aalert(1)", "data://a/b"),
            *("JaVaScRiPt://a.example/%0aalert(1)", "vbscript://a", "file:///etc/passwd"),
            *("mailto:ada@example.com", "view-source://a.example", "blob://x", "1http://a.example"),
            *("https://a.example/\r\nBcc:x", "https://a.example/\0", "https://a.example/a b"),
            *("\thttps://a.example", " https://a.example", "https://a.example\n"),
            *(
                "https:\\\\evil.example",
                "https:/\\evil.example",
                "https://a.example\\@evil.example",
            ),
            *("https://a.example@evil.example/", "https://u:p@evil.example/"),
            *('https://a.example/"onclick=x', "https://a.example/<script>", "https://a.example/`"),
            *("https://a.example:port/", "https://[::1/", "https://a.example/\u202egpj"),
            *("https://a\u200b.example/", "https://a.example/\ud800"),
        ],
    )
    def test_what_is_no_link_for_a_mail_is_refused(self, base):
        with pytest.raises(ValueError, match=r"link") as caught:
            link_with_token(base, "T")

        assert not base or base not in str(caught.value)

    @given(
        query=st.lists(
            st.tuples(st.text(min_size=1), st.text(min_size=1)).filter(lambda p: p[0] != "token")
        ),
        token=st.text(min_size=1),
    )
    def test_whatever_the_query_held_is_still_there(self, query, token):
        from urllib.parse import urlencode

        try:
            encoded = urlencode(query)
            urlencode({"token": token})
        except UnicodeEncodeError:  # a lone surrogate stands in no address
            return

        link = link_with_token(f"https://a.example/?{encoded}#end", token)

        parts = urlsplit(link)
        assert parse_qsl(parts.query) == [*query, ("token", token)]
        assert parts.fragment == "end"

    @pytest.mark.parametrize("mail", sorted(LINK_VARIABLES))
    def test_a_mail_links_nowhere_else_either(self, mail):
        """The client checks the link as well: a button must never run a script."""
        with pytest.raises(ValueError, match="link"):
            client().send_email(
                subject="x", to_email="a@b.example", template=mail, url="javascript:alert(1)"
            )


class TestWords:
    @pytest.mark.parametrize(
        ("lifetime", "words"),
        [
            (timedelta(minutes=1), "1 minute"),
            (timedelta(minutes=10), "10 minutes"),
            (timedelta(minutes=59, seconds=59), "59 minutes"),
            (timedelta(hours=1), "1 hour"),
            (timedelta(minutes=90), "1 hour and 30 minutes"),
            (timedelta(hours=24), "24 hours"),
            (timedelta(hours=47, minutes=30), "47 hours and 30 minutes"),
            (timedelta(days=2), "2 days"),
            (timedelta(days=2, hours=1, minutes=59), "2 days and 1 hour"),
            (timedelta(days=7), "7 days"),
            (timedelta(seconds=59), "less than a minute"),
            (timedelta(0), "less than a minute"),
            (timedelta(days=-1), "less than a minute"),
        ],
    )
    def test_a_lifetime_in_words(self, lifetime, words):
        assert in_words(lifetime) == words

    @pytest.mark.parametrize(
        "name", ["Ada", "Ada Lovelace", "Jean-Luc", "O\u2019Brien", "李小龙", "José"]
    )
    def test_a_name_is_greeted(self, name):
        email = client()

        email.send_email(
            subject="x", to_email="a@b.example", template="recovery", url=LINK, first_name=name
        )

        assert f"Hello {name}," in email.sent[0].text
        assert f"Hello {name}," in email.sent[0].html

    @pytest.mark.parametrize(
        "name",
        [
            *("www.evil.example", "evil.example", "http://evil.example", "call 555 1234"),
            *("Ada\n\nSend money", "Ada\r\nBcc: x@evil.example", "x" * 41, "<b>Ada</b>", "a@b"),
            *("", "   ", None, 7, ["Ada"], "You won! Visit us"),
        ],
    )
    def test_a_name_that_carries_a_message_of_its_own_is_not(self, name):
        """Whoever signs a stranger up chooses the name in the stranger's mail."""
        email = client()

        email.send_email(
            subject="x", to_email="a@b.example", template="recovery", url=LINK, first_name=name
        )

        assert "Hello" not in email.sent[0].text + email.sent[0].html
        assert "evil.example" not in email.sent[0].raw.decode()


class TestHeaders:
    def test_what_every_mail_says_about_itself(self):
        clock = MovableClock(datetime(2026, 3, 1, 9, 30, tzinfo=UTC))
        email = client(clock=clock)

        headers = confirmation(email).headers

        assert headers["From"] == "Lovelace Notes <noreply@notes.example.com>"
        assert headers["To"] == "ada@example.com"
        assert parsedate_to_datetime(headers["Date"]) == clock()
        assert headers["Auto-Submitted"] == "auto-generated"
        assert re.fullmatch(r"<[0-9a-f]{32}@notes\.example\.com>", headers["Message-ID"])
        assert headers["Content-Type"].startswith("multipart/alternative")

    def test_text_comes_before_html(self):
        """A reader shows the last part that it can, RFC 2046, section 5.1.4."""
        message = message_from_bytes(confirmation(client()).raw, policy=policy.default)

        assert [part.get_content_type() for part in message.iter_parts()] == [
            "text/plain",
            "text/html",
        ]

    def test_the_link_stands_unbroken_in_the_bytes(self):
        """Whoever looks into a file finds the link without decoding anything."""
        link = link_with_token("https://notes.example.com/" + "very-long-path/" * 10, "T")

        assert link.encode() in confirmation(client(), url=link).raw

    def test_a_sender_with_a_name_keeps_it(self):
        email = client(from_email="Team Ada <team@notes.example.com>")

        assert confirmation(email).headers["From"] == "Team Ada <team@notes.example.com>"

    @pytest.mark.parametrize(
        "from_email", ["nobody", "a@b, c@d", "a@b\r\nBcc: c@d", "ädä@example.com", "a b@c", "<>"]
    )
    def test_a_sender_that_is_no_single_address_is_a_matter_of_configuration(self, from_email):
        with pytest.raises(ConfigError):
            client(from_email=from_email)

    @pytest.mark.parametrize(
        "subject",
        ["a\r\nBcc: x@evil.example", "a\nb", "a\rb", "a\0b", "a\u2028b", "a\x85b", "\ud800"],
    )
    def test_a_line_break_in_a_subject_is_an_error_of_ours(self, subject):
        email = client()

        with pytest.raises(AuthError) as caught:
            confirmation(email, subject)

        assert isinstance(caught.value, EmailSendError)
        assert caught.value.permanent
        assert email.sent == []

    @pytest.mark.parametrize(
        "to_email",
        [
            *("a@b.example, c@d.example", "a@b.example;c@d.example", "a@b.example\r\nBcc: c@d", ""),
            *("a@b.example c@d.example", "Ada <a@b.example>", "ada", "@b", "a@", "a@b@c", "a@b\0"),
            *(
                "ada@bücher.example",
                "\u212a@b.example",
                "x" * 250 + "@b.example",
                "a@b\n",
                "a@b\u2028",
            ),
            *("(c)a@b.example", "a@[127.0.0.1]", '"a b"@c.example'),
        ],
    )
    def test_mail_goes_to_exactly_one_plain_address(self, to_email):
        """``v@x, a@evil`` must never become two recipients."""
        email = client()

        with pytest.raises(EmailSendError) as caught:
            email.send_email(subject="x", to_email=to_email, template="confirmation", url=LINK)

        assert caught.value.permanent
        assert email.sent == []

    @pytest.mark.parametrize(
        "text",
        [
            "=?utf-8?q?a=0d=0aBcc:_x@evil.example?=",
            "=?utf-8?b?YQ0KQmNjOiB4QGV2aWwuZXhhbXBsZQ==?= hello",
            'Grüße, "Ada"; <x@y> 📓 ' * 8,
            "x" * 3000,
            "word " * 400,
        ],
    )
    def test_hostile_texts_stay_texts(self, text):
        """An encoded line break in a subject or a site's name makes no header of its own."""
        mail = confirmation(client(site_name=text.strip()), text)

        head = mail.raw.partition(b"\r\n\r\n")[0]
        assert not re.search(rb"^Bcc", head, re.MULTILINE | re.IGNORECASE)
        assert max(map(len, head.split(b"\r\n"))) <= 100
        assert mail.subject == text
        assert display_name(mail) == text.strip()

    @given(
        text=st.text(
            st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=300
        ).filter(lambda text: text.strip() == text)
    )
    def test_any_line_of_text_arrives_as_a_subject_and_adds_no_header(self, text):
        mail = confirmation(client(), text)

        assert mail.subject == text
        assert list(mail.headers) == list(confirmation(client()).headers)

    def test_one_attempt_and_the_next_are_the_same_mail(self):
        email = client()
        message_id = email.new_message_id()

        for _ in range(2):
            message = email.compose(
                template="confirmation",
                to_email="ada@example.com",
                variables={"url": LINK},
                message_id=message_id,
            )
            email.deliver(message, "ada@example.com")

        assert [mail.message_id for mail in email.sent] == [message_id, message_id]

    @pytest.mark.parametrize("message_id", ["x", "<a@b>\r\nBcc: c@d", "<a b@c>", "a@b@c", "<@>"])
    def test_a_message_id_that_is_none_is_a_programming_mistake(self, message_id):
        with pytest.raises(ValueError, match="Message-ID"):
            client().compose(
                template="confirmation",
                to_email="ada@example.com",
                variables={"url": LINK},
                message_id=message_id,
            )

    def test_a_mail_is_delivered_to_nobody_but_its_addressee(self):
        email = client()
        message = email.compose(
            template="confirmation", to_email="ada@example.com", variables={"url": LINK}
        )

        with pytest.raises(ValueError, match="somebody else"):
            email.deliver(message, "eve@example.com")

        assert email.sent == []


class TestSendEmail:
    def test_the_names_of_the_original_work(self):
        """Template names with .html, and each mail's own name for its link."""
        email = client()

        for mail, variable in LINK_VARIABLES.items():
            email.send_email(
                subject="Hello",
                to_email="ada@example.com",
                template=f"{mail}.html",
                **{variable: LINK},
            )

        assert {mail.link for mail in email.sent} == {LINK}
        assert [mail.kind for mail in email.sent] == list(LINK_VARIABLES)

    @pytest.mark.parametrize(
        "template", ["welcome", "", "base", "_parts", "../base", "confirmation.txt"]
    )
    def test_an_unknown_template_is_a_programming_mistake(self, template):
        with pytest.raises(ValueError, match="confirmation, email_change"):
            client().send_email(subject="x", to_email="a@b.example", template=template, url=LINK)

    @pytest.mark.parametrize("mail", sorted(LINK_VARIABLES))
    def test_a_mail_without_its_link_is_a_programming_mistake(self, mail):
        with pytest.raises(ValueError, match=LINK_VARIABLES[mail]):
            client().send_email(subject="x", to_email="a@b.example", template=mail)

    def test_the_error_crosses_processes_with_all_it_carries(self):
        error = pickle.loads(pickle.dumps(EmailSendError("no", permanent=True)))

        assert isinstance(error, EmailSendError)
        assert error.permanent
        assert error.code == "email_send_error"

    def test_only_memory_and_folders_know_what_was_sent(self):
        config = EmailConfig(
            site_name="x",
            site_url="https://x.example",
            from_email="a@x.example",
            smtp_host="localhost",
            smtp_port=25,
            smtp_user="",
            smtp_password="",
        )

        with pytest.raises(TypeError):
            _ = EmailClient(config).sent

    def test_what_was_sent_shows_no_link_in_its_repr(self):
        assert "a-token" not in repr(confirmation(client()))

    def test_what_was_sent_gives_link_and_token(self):
        mail = confirmation(client(), url="https://notes.example.com/c?x=1&token=T%2B1#f")

        assert mail.link == "https://notes.example.com/c?x=1&token=T%2B1#f"
        assert mail.token == "T+1"

    def test_reserved_names_are_those_the_library_sets(self):
        assert {"token", "url", "email", "site_name", "site_url", "subject"} <= RESERVED_VARIABLES
        assert {"expires_in", "content", "confirmation_url", "recovery_url"} <= RESERVED_VARIABLES
        assert "first_name" not in RESERVED_VARIABLES

    def test_importing_the_client_does_not_import_what_sends_and_renders(self):
        code = (
            "import sys, derp_auth_lite.email;"
            "print([m for m in ('jinja2', 'smtplib', 'email.message') if m in sys.modules])"
        )

        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

        assert done.stdout.strip() == b"[]"


class TestFolder:
    @pytest.fixture
    def folder(self, tmp_path):
        return tmp_path / "app.db.mail"

    def test_a_mail_becomes_a_file_that_mail_programs_read(self, folder):
        email = EmailClient.to_folder(folder, site_name="Lovelace Notes")

        confirmation(email)

        (path,) = folder.iterdir()
        assert path.suffix == ".eml"
        message = message_from_bytes(path.read_bytes(), policy=policy.default)
        assert message["Subject"] == "Confirm"
        body = message.get_body(("plain",))
        assert body is not None
        assert LINK in body.get_content()

    @pytest.mark.skipif(os.name == "nt", reason="Windows knows no modes")
    def test_only_the_owner_reads_live_links(self, folder):
        umask = os.umask(0)
        try:
            confirmation(EmailClient.to_folder(folder))
        finally:
            os.umask(umask)

        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o600]

    def test_names_sort_by_time(self, folder):
        clock = MovableClock()
        email = EmailClient.to_folder(folder, clock=clock)
        subjects = [f"number {number}" for number in range(12)]
        for subject in subjects:
            confirmation(email, subject)
            clock.advance(seconds=int(subject[-1]) % 3)  # some share their moment

        assert [mail.subject for mail in email.sent] == subjects

    def test_nothing_is_made_before_the_first_mail(self, folder):
        email = EmailClient.to_folder(folder)

        assert email.sent == []
        assert not folder.exists()

    def test_a_folder_taken_away_comes_back(self, folder):
        email = EmailClient.to_folder(folder)
        confirmation(email)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()

        confirmation(email)

        assert len(email.sent) == 1

    def test_a_folder_that_cannot_be_is_a_failed_delivery(self, tmp_path):
        (tmp_path / "taken").write_text("a file")
        email = EmailClient.to_folder(tmp_path / "taken")

        with pytest.raises(EmailSendError) as caught:
            confirmation(email)

        assert isinstance(caught.value.__cause__, OSError)
        assert not caught.value.permanent

    @pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
    def test_a_full_disk_leaves_nothing_behind(self, folder):
        """A file may hold 1,000 bytes here, as on a disk with no more room."""
        code = f"""
            import resource, signal
            from derp_auth_lite.email import EmailClient
            from derp_auth_lite.exceptions import EmailSendError

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
            try:
                EmailClient.to_folder({str(folder)!r}).send_email(
                    subject="x", to_email="a@b.example", template="confirmation", url={LINK!r})
            except EmailSendError as error:
                print(error.permanent, type(error.__cause__).__name__)
        """

        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, check=True
        )

        assert done.stdout.split() == [b"False", b"OSError"]
        assert list(folder.iterdir()) == []

    @pytest.mark.skipif(os.name == "nt", reason="sends SIGKILL")
    @pytest.mark.parametrize(("sync", "mails"), [(1, 0), (2, 1), (3, 1), (4, 2)])
    def test_a_writer_killed_while_the_disk_works_leaves_whole_files_only(
        self, folder, sync, mails
    ):
        """Each mail is synced twice: the file before it gets its name, the folder after."""
        code = f"""
            import os, signal
            from derp_auth_lite.email import EmailClient

            left = {sync}
            def killed(handle, fsync=os.fsync):
                global left
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
                fsync(handle)

            os.fsync = killed
            email = EmailClient.to_folder({str(folder)!r})
            for _ in range(2):
                email.send_email(
                    subject="x", to_email="a@b.example", template="confirmation", url={LINK!r})
        """

        done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)

        assert done.returncode == -signal.SIGKILL
        written = EmailClient.to_folder(folder).sent
        assert len(written) == mails
        assert all(mail.html.rstrip().endswith("</html>") for mail in written)

    def test_many_threads_lose_no_mail(self, folder):
        email = EmailClient.to_folder(folder, clock=MovableClock())
        threads = [
            threading.Thread(target=lambda: [confirmation(email) for _ in range(5)])
            for _ in range(4)
        ]

        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(email.sent) == 20
