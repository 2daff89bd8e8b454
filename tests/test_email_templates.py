"""The mails themselves: what they say, what they escape, and how one's own take their place."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

import derp_auth_lite
from derp_auth_lite.email import LINK_VARIABLES, EmailClient, SentMail
from derp_auth_lite.exceptions import ConfigError

LINK = "https://notes.example.com/confirm?next=%2Fhome&token=a-token"
MAILS = [
    "account_exists",
    "confirmation",
    "email_change",
    "email_changed",
    "magic_link",
    "password_changed",
    "recovery",
]
HOSTILE = "<script>alert('x')</script>\"' onload=x {{ 7*7 }}"


def send(mail: str, email: EmailClient | None = None, /, **variables: Any) -> SentMail:
    email = email or EmailClient.in_memory(
        site_name="Lovelace Notes", site_url="https://notes.example.com"
    )
    message = email.compose(template=mail, to_email="ada@example.com", variables=variables)
    email.deliver(message, "ada@example.com")
    return email.sent[-1]


def own(folder: Path, **files: str) -> EmailClient:
    """Return a client with templates of one's own; ``a__txt`` is the file ``a.txt``."""
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content, encoding="utf-8")
    return EmailClient.in_memory(site_name="Lovelace Notes", templates_dir=str(folder))


class _Seen(HTMLParser):
    """Notes the tags of a page, the links, and attributes that run something."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


class TestMails:
    def test_these_mails_are_there(self):
        assert EmailClient.in_memory().templates == MAILS

    @pytest.mark.parametrize("mail", MAILS)
    def test_text_and_html_hold_the_same_link(self, mail):
        sent = send(mail, url=LINK)

        assert sent.link == LINK
        assert LINK in sent.text.splitlines(), "the link has a line of its own"
        assert _Seen(sent.html).links.count(LINK) == 2, "the button and the bare link"
        assert LINK in _Seen(sent.html).text

    @pytest.mark.parametrize("mail", MAILS)
    def test_text_and_html_name_site_and_lifetime(self, mail):
        sent = send(mail, url=LINK, expires_in=timedelta(hours=24))

        for part in (sent.text, sent.html):
            assert "24 hours" in part
            assert "Lovelace Notes" in part
            assert "https://notes.example.com" in part

    @pytest.mark.parametrize("mail", MAILS)
    def test_every_mail_has_a_subject_of_its_own(self, mail):
        sent = send(mail, url=LINK)

        assert 10 < len(sent.subject) < 60
        assert f"<title>{sent.subject}</title>" in sent.html

    @pytest.mark.parametrize("mail", MAILS)
    def test_no_line_of_text_is_longer_than_72_but_a_link(self, mail):
        site = EmailClient.in_memory(site_name="The Society of Analytical Engines of London")
        sent = send(mail, site, url=LINK, first_name="Ada", new_email="countess@example.org")

        long = [line for line in sent.text.splitlines() if len(line) > 72]
        assert [line for line in long if line != LINK] == []
        assert "\n\n\n" not in sent.text
        assert not re.search(r"[ \t]$", sent.text, re.MULTILINE)

    @pytest.mark.parametrize("mail", sorted(set(MAILS) - set(LINK_VARIABLES)))
    def test_a_notice_does_without_a_link(self, mail):
        sent = send(mail)

        assert "The link works once" not in sent.text + sent.html
        assert set(_Seen(sent.html).links) == {"https://notes.example.com"}

    @pytest.mark.parametrize("mail", sorted(LINK_VARIABLES))
    def test_a_link_without_a_known_lifetime_promises_none(self, mail):
        sent = send(mail, url=LINK)

        assert "The link works once." in sent.text
        assert "expires" not in sent.text + _Seen(sent.html).text

    def test_the_old_address_learns_the_new_one_if_it_may(self):
        assert "c***s@example.org" in send("email_changed", new_email="c***s@example.org").html
        assert "another address" in send("email_changed").text

    @pytest.mark.parametrize("mail", MAILS)
    def test_a_mail_loads_nothing(self, mail):
        """No picture or font from elsewhere tells anybody that the mail was opened."""
        html = send(mail, url=LINK).html

        seen = _Seen(html)
        assert not {"img", "link", "script", "iframe", "video", "form", "input"} & set(seen.tags)
        assert not re.search(r"url\(|@import|src=", html)

    @pytest.mark.parametrize("mail", MAILS)
    def test_gmail_does_not_clip_it(self, mail):
        """Gmail cuts what is longer than 102 kB."""
        assert len(send(mail, url=LINK * 3).raw) < 30_000


class TestEscaping:
    @pytest.mark.parametrize("mail", MAILS)
    @pytest.mark.parametrize("trusted", [str, Markup], ids=["text", "marked as safe"])
    def test_every_variable_is_escaped_in_html(self, mail, trusted):
        hostile = trusted(HOSTILE)
        names = ("new_email", "expires_in", "first_name", "email", "token", "subject", "content")

        sent = send(mail, url=LINK, **dict.fromkeys(names, hostile))

        seen = _Seen(sent.html)
        assert "script" not in seen.tags
        assert seen.handlers == []
        assert "<script" not in sent.html
        assert "49" not in sent.text, "a variable is never itself a template"

    @pytest.mark.parametrize("mail", MAILS)
    def test_the_sites_name_and_the_subject_are_escaped_in_html(self, mail):
        email = EmailClient.in_memory(site_name=HOSTILE)
        message = email.compose(
            template=mail, to_email="a@b.example", subject=HOSTILE, variables={"url": LINK}
        )
        email.deliver(message, "a@b.example")

        sent = email.sent[0]
        assert sent.subject == HOSTILE
        assert "<script" not in sent.html
        assert _Seen(sent.html).handlers == []
        assert HOSTILE in sent.text.replace("\n", " "), "text is not escaped"

    @given(value=st.text(st.characters(exclude_categories=["Cs"])))
    def test_no_text_makes_a_tag(self, value):
        usual = _Seen(send("email_changed", new_email="x").html)

        seen = _Seen(send("email_changed", new_email=value or "x").html)

        assert seen.tags == usual.tags
        assert seen.links == usual.links

    def test_templates_of_ones_own_escape_too(self, tmp_path):
        email = own(tmp_path, welcome__html="<p title='{{ a }}'>{{ b }}</p>")

        email.send_email(
            subject="x", to_email="a@b.example", template="welcome", a=HOSTILE, b=Markup(HOSTILE)
        )

        seen = _Seen(email.sent[0].html)
        assert "script" not in seen.tags
        assert seen.handlers == []


class TestOwnTemplates:
    def test_a_file_replaces_ours_and_the_others_stay(self, tmp_path):
        email = own(tmp_path, confirmation__txt="Servus!\n\n{{ url }}\n")

        sent = send("confirmation", email, url=LINK)

        assert sent.text == f"Servus!\n\n{LINK}\n"
        assert "Confirm email address" in sent.html
        assert sent.subject == "Confirm your email address"
        assert "sign in to Lovelace Notes" in send("magic_link", email, url=LINK).text

    def test_a_subject_of_ones_own(self, tmp_path):
        email = own(tmp_path, recovery__subject__txt="Neues Passwort für\n {{ site_name }}\n")

        assert send("recovery", email, url=LINK).subject == "Neues Passwort für Lovelace Notes"

    def test_a_variable_cannot_break_out_of_a_subject(self, tmp_path):
        email = own(tmp_path, recovery__subject__txt="Hi {{ nick }}")

        sent = send("recovery", email, url=LINK, nick="x\r\nBcc: eve@evil.example")

        assert sent.subject == "Hi x Bcc: eve@evil.example"
        assert "Bcc" not in sent.headers

    def test_html_as_the_original_has_it_stands_in_our_page(self, tmp_path):
        """A fragment with the original's variable and classes, and no text beside it."""
        email = own(
            tmp_path,
            confirmation__html=(
                '<h2>Hallo</h2><p>Bitte   bestätigen:</p>\n<a href="{{ confirmation_url }}" '
                'class="button">Bestätigen</a><div class="footer"><p>{{ site_name }}</p></div>'
            ),
        )

        sent = send("confirmation", email, url=LINK)

        assert sent.html.lstrip().startswith("<!DOCTYPE html>")
        assert 'class="button">Bestätigen</a>' in sent.html
        assert sent.text == textwrap.dedent(f"""\
            Lovelace Notes

            Hallo

            Bitte bestätigen:

            Bestätigen:
            {LINK}

            Lovelace Notes

            Sent to ada@example.com by Lovelace Notes

            http://localhost
        """)

    def test_our_text_does_not_speak_for_html_of_ones_own(self, tmp_path):
        email = own(tmp_path, confirmation__html="<p>Hallo {{ url }}</p>")

        assert "Welcome" not in send("confirmation", email, url=LINK).text

    def test_the_fallback_text_stands_in_for_a_missing_text(self, tmp_path):
        email = own(tmp_path, welcome__html="<p>Welcome</p>")

        email.send_email(
            subject="x", to_email="a@b.example", template="welcome", fallback_text="Be welcome"
        )

        assert email.sent[0].text.rstrip() == "Be welcome"

    def test_a_page_as_the_original_has_it_takes_our_mails(self, tmp_path):
        email = own(
            tmp_path,
            base__html=(
                "<!DOCTYPE html><html><head><title>{{ subject }}</title></head>"
                "<body><header>{{ site_name }}</header>{{ content | safe }}</body></html>"
            ),
        )

        sent = send("confirmation", email, url=LINK)

        assert "<header>Lovelace Notes</header>" in sent.html
        assert _Seen(sent.html).links.count(LINK) == 2

    def test_a_template_may_extend_the_page(self, tmp_path):
        email = own(
            tmp_path,
            welcome__html=(
                '{% extends "base.html" %}{% set page.preheader = "Soon" %}'
                "{% block content %}<p>Hello {{ who }}</p>{% endblock %}"
            ),
        )

        email.send_email(subject="x", to_email="a@b.example", template="welcome", who="<Ada>")

        html = email.sent[0].html
        assert html.count("<html") == 1
        assert "<p>Hello &lt;Ada&gt;</p>" in html
        assert ">Soon" in html

    def test_a_whole_page_stays_alone(self, tmp_path):
        email = own(tmp_path, welcome__html="<!-- mine -->\n<HTML><body>alone</body></HTML>")

        email.send_email(subject="x", to_email="a@b.example", template="welcome")

        assert email.sent[0].html.count("<HTML>") == 1
        assert "Sent to" not in email.sent[0].html

    def test_minutes_are_there_for_other_languages(self, tmp_path):
        email = own(tmp_path, magic_link__txt="{{ url }}\nGilt {{ expires_minutes }} Minuten.")

        sent = send("magic_link", email, url=LINK, expires_in=timedelta(minutes=10))

        assert sent.text.rstrip().endswith("\nGilt 10 Minuten.")

    def test_mails_of_ones_own_are_listed(self, tmp_path):
        (tmp_path / "news").mkdir()
        (tmp_path / "news" / "weekly.html").write_text("<p>news</p>")

        assert own(tmp_path, welcome__html="x", _bits__html="y").templates == sorted(
            [*MAILS, "news/weekly", "welcome"]
        )

    @pytest.mark.parametrize("template", ["../outside", "/etc/passwd", "a/../../outside"])
    def test_no_name_leads_out_of_the_folder(self, tmp_path, template):
        folder = tmp_path / "mine"
        folder.mkdir()
        (tmp_path / "outside.html").write_text("secret")

        with pytest.raises(ValueError, match="no mail template"):
            own(folder).send_email(subject="x", to_email="a@b.example", template=template)

    def test_a_style_sheet_is_no_part_of_the_text(self, tmp_path):
        email = own(
            tmp_path,
            welcome__html=(
                "<html><head><title>T</title><style>p{}</style></head><body>"
                '<div style="display: none">hidden</div><p>One<br>two &amp; three</p>'
                '<ul><li>four<li>five</ul><a href="https://x.example/a?b=1&amp;c=2">six</a>'
                '<a href="#top">seven</a></p></body></html>'
            ),
        )

        email.send_email(subject="x", to_email="a@b.example", template="welcome")

        text = email.sent[0].text
        assert " ".join(text.split()) == (
            "One two & three four five six: https://x.example/a?b=1&c=2 seven"
        )
        assert "https://x.example/a?b=1&c=2" in text.splitlines()


class TestBrokenTemplates:
    @pytest.mark.parametrize(
        ("files", "place"),
        [
            ({"confirmation__html": "<p>\n{{ url }\n</p>"}, r"confirmation\.html, line 2"),
            ({"confirmation__html": "<p>\n\n{% if %}"}, r"confirmation\.html, line 3"),
            ({"confirmation__txt": "a\n{{ nonsense }}"}, r"confirmation\.txt, line 2.*nonsense"),
            ({"confirmation__html": "a\n{{ 1 / 0 }}"}, r"confirmation\.html, line 2.*ZeroDivision"),
            ({"confirmation__html": '{% include "gone.html" %}'}, r"gone\.html, which is missing"),
            ({"confirmation__html": '{% import "gone.html" as g %}'}, r"gone\.html"),
            ({"confirmation__subject__txt": "{{ x.y }}"}, r"confirmation\.subject\.txt, line 1"),
            ({"base__html": "<html>\n{{ contents }}"}, r"base\.html, line 2"),
            ({"_parts__html": "\n{% macro %}"}, r"_parts\.html, line 2"),
        ],
    )
    def test_the_error_names_file_and_line(self, tmp_path, files, place):
        email = own(tmp_path, **files)

        with pytest.raises(ConfigError, match=place) as caught:
            send("confirmation", email, url=LINK)

        assert caught.value.__cause__ is not None
        assert "a-token" not in str(caught.value)
        assert email.sent == []

    def test_a_file_that_is_no_text_is_named(self, tmp_path):
        (tmp_path / "confirmation.html").write_bytes(b"\xff\xfe\x00")

        with pytest.raises(ConfigError, match=r"confirmation\.html cannot be read"):
            send("confirmation", own(tmp_path), url=LINK)

    def test_a_mail_of_ones_own_without_a_subject_needs_one_from_the_caller(self, tmp_path):
        with pytest.raises(ConfigError, match=r"welcome\.subject\.txt"):
            send("welcome", own(tmp_path, welcome__html="x"))

    def test_a_folder_that_is_not_there_is_noticed_at_once(self, tmp_path):
        with pytest.raises(ConfigError, match="templates_dir"):
            EmailClient.in_memory(templates_dir=str(tmp_path / "gone"))

    def test_a_template_mended_is_taken_without_a_restart(self, tmp_path):
        email = own(tmp_path, confirmation__txt="{{ broken")
        with pytest.raises(ConfigError):
            send("confirmation", email, url=LINK)

        (tmp_path / "confirmation.txt").write_text("mended {{ url }}")

        assert send("confirmation", email, url=LINK).text.startswith("mended")

    def test_check_finds_every_problem_before_a_mail_is_due(self, tmp_path):
        email = own(
            tmp_path,
            confirmation__html="\n{{ nonsense }}",
            recovery__txt="{% if %}",
            welcome__html="{{ fine_with_variables_of_its_own }}",
            news__html="{% broken %}",
        )

        with pytest.raises(ConfigError) as caught:
            email.check()

        problems = str(caught.value).splitlines()
        assert len(problems) == 3
        assert "confirmation.html, line 2" in problems[0]
        assert "news.html, line 1" in problems[1]
        assert "recovery.txt, line 1" in problems[2]
        assert email.sent == []

    def test_check_finds_nothing_wrong_with_ours(self):
        EmailClient.in_memory().check()


class TestWhereOursLie:
    def test_a_checkout_that_is_only_stood_in_finds_them(self, tmp_path):
        """There the templates are a folder beside the library, not a package of it."""
        top = Path(derp_auth_lite.__file__).parents[1]
        for name in ("derp_auth_lite", "templates"):
            shutil.copytree(
                top / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__")
            )

        code = (
            "import derp_auth_lite.email as e; e.EmailClient.in_memory().check(); print(e.__file__)"
        )

        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            check=True,
        )

        assert done.stdout.decode().startswith(str(tmp_path))
