"""One stored form for each mailbox, and a form that logs may show."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from derp_auth_lite._addresses import _PLAIN, _validated, mask_email, normalize_email
from derp_auth_lite.exceptions import InvalidEmailError

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True).filter(
    lambda label: label[2:4] != "--"
)
LOCAL_PARTS = st.from_regex(
    r"[a-z0-9_+!#$%&'*/=?^`{|}~-]{1,20}(\.[a-z0-9_+-]{1,10}){0,2}", fullmatch=True
)
DOMAINS = st.one_of(
    st.builds("{}.{}".format, LABELS, st.sampled_from(["org", "com", "internal", "local", "test"])),
    st.just("localhost"),
)
ADDRESSES = st.builds("{}@{}".format, LOCAL_PARTS, DOMAINS)


class TestNormalize:
    @pytest.mark.parametrize(
        ("address", "stored"),
        [
            ("ada@example.org", "ada@example.org"),
            ("Ada.Lovelace+News@EXAMPLE.Org", "ada.lovelace+news@example.org"),
            ("o'hara@example.org", "o'hara@example.org"),
            ("root@localhost", "root@localhost"),
            ("ROOT@LOCALHOST", "root@localhost"),
            ("a@srv.local", "a@srv.local"),
            ("a@app.test", "a@app.test"),
            ("a@test", "a@test"),
            ("a@x.internal", "a@x.internal"),
            ("a@sub.example.com", "a@sub.example.com"),
            ("a@straße.de", "a@xn--strae-oqa.de"),
            ("a@STRASSE.de", "a@strasse.de"),
            ("a@xn--strae-oqa.de", "a@xn--strae-oqa.de"),
            ("a@bücher.local", "a@xn--bcher-kva.local"),
            ("a@bu\u0308cher.de", "a@xn--bcher-kva.de"),
            ("a@例え.jp", "a@xn--r8jz45g.jp"),
            (f"{'a' * 64}@example.org", f"{'a' * 64}@example.org"),
        ],
    )
    def test_an_address_has_one_stored_form(self, address, stored):
        assert normalize_email(address) == stored

    @pytest.mark.parametrize(
        "address",
        [
            pytest.param(None, id="None"),
            pytest.param(b"ada@example.org", id="bytes"),
            pytest.param(["ada@example.org"], id="a list"),
            pytest.param("", id="empty"),
            pytest.param("@", id="only an at sign"),
            pytest.param("ada", id="no at sign"),
            pytest.param("ada@", id="no domain"),
            pytest.param("@example.org", id="no local part"),
            pytest.param("ada@server", id="no dot"),
            pytest.param("ada@gmail", id="a forgotten ending"),
            pytest.param("a@example.123", id="a number at the end"),
            pytest.param("a@b@example.org", id="two at signs"),
            pytest.param("v@x, a@evil.org", id="a comma and a second recipient"),
            pytest.param("v@x.org,a@evil.org", id="a comma without a space"),
            pytest.param("v@x.org;a@evil.org", id="a semicolon"),
            pytest.param("ada@example.org\r\nBcc: a@evil.org", id="CRLF and a header"),
            pytest.param("ada\r\n@example.org", id="CRLF in the local part"),
            pytest.param("ada@example.org\n", id="a newline at the end"),
            pytest.param("ada@example.org\0", id="NUL at the end"),
            pytest.param("ada\0@example.org", id="NUL"),
            pytest.param(" ada@example.org", id="white space before"),
            pytest.param("ada@example.org ", id="white space after"),
            pytest.param("ada@example.org\u3000", id="wide white space after"),
            pytest.param("ada @example.org", id="white space within"),
            pytest.param("Ada <ada@example.org>", id="a display name"),
            pytest.param("<ada@example.org>", id="angle brackets"),
            pytest.param('"ada"@example.org', id="a quoted local part"),
            pytest.param('"a@b"@example.org', id="a quoted at sign"),
            pytest.param("ada(comment)@example.org", id="a comment"),
            pytest.param("ada@[127.0.0.1]", id="an address literal"),
            pytest.param("ada@[IPv6:::1]", id="an IPv6 literal"),
            pytest.param(".ada@example.org", id="a dot first"),
            pytest.param("a..a@example.org", id="two dots"),
            pytest.param("ada@example..org", id="two dots in the domain"),
            pytest.param("ada@-example.org", id="a hyphen first"),
            pytest.param("ada@exa_mple.org", id="an underscore in the domain"),
            pytest.param("ada@.local", id="an empty label"),
            pytest.param("ada@example.org.", id="a dot at the end"),
            pytest.param("ada@xn--a.org", id="no punycode"),
            pytest.param("ada@b.onion", id="a network that has no mail"),
            pytest.param("é@example.org", id="a foreign local part"),
            pytest.param("\u0430da@example.org", id="a Cyrillic a"),
            pytest.param("ada\uff20example.org", id="a full-width at sign"),
            pytest.param("ada\ufe6bexample.org", id="a small at sign"),
            pytest.param("ada@x\uff20evil.org", id="a second at sign, full-width"),
            pytest.param("\u212aate@example.org", id="a Kelvin sign in the local part"),
            pytest.param("ada@\u212aate.org", id="a Kelvin sign in the domain"),
            pytest.param("ada@example\u3002org", id="an ideographic full stop"),
            pytest.param("ada@é\u3002org", id="an ideographic full stop after a foreign label"),
            pytest.param("ada@\uff45xample.org", id="a full-width letter"),
            pytest.param("ada@\ufb01sh.org", id="a ligature"),
            pytest.param("ada@exa\u00admple.org", id="a soft hyphen"),
            pytest.param("ada@exa\u200bmple.org", id="a zero-width space"),
            pytest.param("ada@exa\ufe0fmple.org", id="a variation selector"),
            pytest.param("ada@ké\u212a.org", id="a Kelvin sign in a foreign label"),
            pytest.param("ada@\u202egro.elpmaxe", id="a change of direction"),
            pytest.param("\ud800@example.org", id="a surrogate in the local part"),
            pytest.param("ada@\udfff.org", id="a surrogate in the domain"),
            pytest.param(f"{'a' * 65}@example.org", id="a local part of 65 characters"),
            pytest.param(f"ada@{'b' * 64}.org", id="a label of 64 characters"),
            pytest.param(f"ada@{'b.' * 130}org", id="more than 254 characters"),
            pytest.param("a" * 10_000, id="10,000 characters"),
            pytest.param("a@" * 5_000, id="10,000 characters, half of them at signs"),
            pytest.param("ada@" + "é" * 10_000, id="10,000 foreign characters"),
        ],
    )
    def test_what_is_not_one_plain_address_is_refused(self, address):
        with pytest.raises(InvalidEmailError) as refused:
            normalize_email(address)
        assert str(refused.value) == "The email address is not valid"

    @pytest.mark.parametrize("text", ["a" * 10**7, "@" * 10**7, "é@é." * 10**6])
    def test_a_huge_text_is_refused_at_once(self, text):
        started = time.perf_counter()
        with pytest.raises(InvalidEmailError):
            normalize_email(text)
        assert mask_email(text) == "***"
        assert time.perf_counter() - started < 0.1

    @given(ADDRESSES)
    @example("a@xn--strae-oqa.de")
    def test_the_stored_form_is_its_own_stored_form(self, address):
        assert normalize_email(normalize_email(address)) == normalize_email(address)

    @given(ADDRESSES)
    def test_case_makes_no_difference(self, address):
        assert normalize_email(address.upper()) == normalize_email(address) == address

    @given(st.one_of(st.text(), st.builds("{}@{}".format, st.text(), st.text())))
    @example("0@ßa.com")
    def test_whatever_is_given_the_answer_is_a_plain_address_or_the_typed_error(self, text):
        """What is accepted is ASCII, in one piece, small, and accepted again as it is."""
        try:
            stored = normalize_email(text)
        except InvalidEmailError:
            return
        assert stored.isascii()
        assert stored.isprintable()
        assert stored == stored.lower() == normalize_email(stored)
        assert stored.count("@") == 1
        assert not set(stored) & set(' ,;:<>()[]"\\')

    @given(st.characters(min_codepoint=128))
    @example("\u034f")
    @example("\u115f")
    @example("\u1e9e")
    @example("\ufe0f")
    @example("\uff61")
    @example("\U000e0100")
    def test_no_foreign_character_ends_as_an_ascii_one_or_as_nothing(self, character):
        """Such a one is refused, or stands in a label that says that it is foreign."""
        try:
            stored = normalize_email(f"ada@x{character}y.org")
        except InvalidEmailError:
            return
        assert stored.startswith("ada@xn--")


class TestMask:
    @pytest.mark.parametrize(
        ("address", "shown"),
        [
            ("ada@example.org", "a***@e***.org"),
            ("a@b.co.uk", "a***@b***.uk"),
            ("root@localhost", "r***@l***"),
            ("hunter2", "***"),
            ("", "***"),
            (None, "***"),
            (7, "***"),
            ("@example.org", "***"),
            ("ada@", "***"),
            ("é@example.org", "***"),
            ("\u212aate@example.org", "***"),
            ("ada@\u017fample.org", "***"),
            ("ada@example.org@evil.org", "***"),
            ("a" * 10_000 + "@example.org", "***"),
        ],
    )
    def test_the_first_letters_and_the_ending_are_shown(self, address, shown):
        assert mask_email(address) == shown

    @pytest.mark.parametrize(
        "address",
        [
            "ada\r\nFAKE LOG LINE@example.org",
            "ada@example.org\r\nFAKE",
            "ada@example.\norg",
            "\x1b[31mada@example.org",
            "ada@\x1b[2Jexample.org",
            "ada@example.org\x1b[0m",
            "ada@exa\x9bmple.org",
            "ada@example.org\0",
            "\ud800@example.org",
        ],
    )
    def test_no_control_character_reaches_a_log(self, address):
        shown = mask_email(address)
        assert shown.isascii()
        assert shown.isprintable()
        assert "FAKE" not in shown

    @given(st.one_of(st.text(), ADDRESSES))
    def test_at_most_two_letters_and_an_ending_are_told(self, text):
        shown = mask_email(text)
        assert shown.isascii()
        assert shown.isprintable()
        assert len(shown.replace("***", "").partition(".")[0]) <= 3


LABEL = st.text("ab0-", min_size=1, max_size=6).filter(lambda text: text.strip("-") == text)
LOCAL = st.text("az09_+-", min_size=1, max_size=12)


@given(
    st.builds(
        lambda local, domain, top: f"{'.'.join(local)}@{'.'.join(domain)}.{top}",
        st.lists(LOCAL, min_size=1, max_size=3),
        st.lists(LABEL.filter(lambda text: text[2:4] != "--"), min_size=1, max_size=3),
        st.sampled_from(["de", "com", "example", "museum", "locals", "attest"]),
    )
)
def test_in_a_plain_address_the_validator_finds_nothing_to_change(address):
    assert _PLAIN(address) is not None
    assert _validated(address) == normalize_email(address) == address


@pytest.mark.parametrize(
    "address",
    ["a@b.invalid", "a@b.onion", "a@1.0.in-addr.arpa", "a@xn--a.com", "a@ab--c.com", "a..b@c.de"],
)
def test_what_only_looks_plain_is_asked_of_the_validator(address):
    assert _PLAIN(address) is None
