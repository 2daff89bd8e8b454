"""Passwords are hashed by the book, cost the same on every path, and are held to the policy."""

from __future__ import annotations

import hashlib
import logging
import math
import statistics
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import argon2
import pytest
from argon2.exceptions import VerifyMismatchError
from hypothesis import given
from hypothesis import strategies as st

from derp_auth_lite import password as password_module
from derp_auth_lite._passwords.common import is_common
from derp_auth_lite.config import PasswordConfig
from derp_auth_lite.exceptions import (
    AuthBackendError,
    ConfigError,
    PasswordValidationError,
)
from derp_auth_lite.password import (
    Argon2Hasher,
    HaveIBeenPwned,
    PasswordHasher,
    check_password,
    validate_password,
)

from .servers.faults import FAULTS
from .servers.loopback import LoopbackServer, Reply, free_port

GOOD = "correct horse battery staple"
TYPABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300)
POLICY = PasswordConfig()


@pytest.fixture(scope="module")
def hasher():
    return Argon2Hasher("cheapest")


class CountingArgon2:
    """The real Argon2, and how often it ran to its end."""

    def __init__(self, real: argon2.PasswordHasher):
        self.real = real
        self.runs = 0

    def verify(self, hashed, secret):
        try:
            result = self.real.verify(hashed, secret)
        except VerifyMismatchError:
            self.runs += 1
            raise
        self.runs += 1
        return result

    def hash(self, secret):
        self.runs += 1
        return self.real.hash(secret)

    def check_needs_rehash(self, hashed):
        return self.real.check_needs_rehash(hashed)


@pytest.fixture
def counted():
    hasher = Argon2Hasher("cheapest")
    hasher._argon2 = CountingArgon2(hasher._argon2)
    return hasher


class TestArgon2:
    @pytest.mark.parametrize(
        ("text", "hashed"),
        [
            ("password", "m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"),
            ("password", "m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"),
            ("password", "m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"),
            ("password", "m=65536,t=1,p=1$c29tZXNhbHQ$9qWtwbpyPd3vm1rB1GThgPzZ3/ydHL92zKL+15XZypg"),
            (
                "differentpassword",
                "m=65536,t=2,p=1$c29tZXNhbHQ$C4TWUs9rDEvq7w3+J4umqA32aWKB1+DSiRuBfYxFj94",
            ),
            ("password", "m=65536,t=2,p=1$ZGlmZnNhbHQ$vfMrBczELrFdWP0ZsfhWsRPaHppYdP3MVEMIVlqoFBw"),
        ],
    )
    def test_known_answers_of_the_reference_implementation(self, hasher, text, hashed):
        assert hasher.verify(text, f"$argon2id$v=19${hashed}")
        assert not hasher.verify(text + "x", f"$argon2id$v=19${hashed}")

    @pytest.mark.parametrize(
        ("profile", "parameters"),
        [
            (None, "$argon2id$v=19$m=65536,t=3,p=4$"),
            ("rfc9106_low_memory", "$argon2id$v=19$m=65536,t=3,p=4$"),
            ("owasp_minimum", "$argon2id$v=19$m=19456,t=2,p=1$"),
            ("cheapest", "$argon2id$v=19$m=8,t=1,p=1$"),
        ],
    )
    def test_a_profile_names_its_parameters(self, profile, parameters):
        """RFC 9106's low-memory ones are the default: 64 MiB, 3 passes, 4 lanes."""
        hasher = Argon2Hasher(profile) if profile else Argon2Hasher()
        hashed = hasher.hash(GOOD)
        assert hashed.startswith(parameters)
        assert hasher.unmatchable().startswith(parameters)
        assert len(hashed) == len(hasher.unmatchable())
        assert hasher.verify(GOOD, hashed)

    @given(TYPABLE)
    def test_what_was_hashed_verifies_and_nothing_close_to_it_does(self, text):
        hasher = Argon2Hasher("cheapest")
        hashed = hasher.hash(text)
        assert hasher.verify(text, hashed)
        for close in (f"{text} ", f" {text}", text[:-1] or "x", text.swapcase(), text + text[-1:]):
            same = unicodedata.normalize("NFC", close) == unicodedata.normalize("NFC", text)
            assert hasher.verify(close, hashed) is same

    def test_each_hash_has_a_salt_of_its_own(self, hasher):
        assert len({hasher.hash(GOOD) for _ in range(20)}) == 20
        assert len({hasher.unmatchable() for _ in range(20)}) == 20

    @pytest.mark.parametrize("place", [0, 71, 72, 99, 254, 255, 256, 1000, 4095])
    def test_every_character_of_a_long_password_counts(self, hasher, place):
        """Nothing is cut, at character 72 or anywhere (NIST SP 800-63B-4)."""
        long = "a" * 4096
        hashed = hasher.hash(long)
        assert hasher.verify(long, hashed)
        assert not hasher.verify(long[:place] + "b" + long[place + 1 :], hashed)

    @pytest.mark.parametrize(
        ("typed", "stored"),
        [
            ("caf\u00e9 au lait", "cafe\u0301 au lait"),
            ("\uac00\uac01", "\u1100\u1161\u1100\u1161\u11a8"),
        ],
    )
    def test_it_does_not_matter_how_a_keyboard_composes_an_accent(self, hasher, typed, stored):
        assert hasher.verify(typed, hasher.hash(stored))
        assert hasher.verify(stored, hasher.hash(typed))

    def test_compatibility_forms_are_other_passwords(self, hasher):
        """NFC keeps them apart; NFKC would not."""
        assert not hasher.verify("fish and chips", hasher.hash("\ufb01sh and chips"))

    def test_a_changed_profile_asks_for_a_new_hash(self, hasher):
        strong = Argon2Hasher("owasp_minimum")
        assert strong.needs_rehash(hasher.hash(GOOD))
        assert not hasher.needs_rehash(hasher.hash(GOOD))
        assert not hasher.needs_rehash(hasher.unmatchable())
        assert hasher.needs_rehash("rubbish")

    def test_hashes_of_the_older_variants_verify_and_ask_to_be_renewed(self, hasher):
        old = argon2.PasswordHasher(
            time_cost=1, memory_cost=8, parallelism=1, type=argon2.Type.I
        ).hash(GOOD)
        assert hasher.verify(GOOD, old)
        assert hasher.needs_rehash(old)

    @pytest.mark.parametrize(
        "unusable",
        [None, 7, b"bytes", "with\0nul", "half \ud800 a pair", "x" * 4097, ["a"]],
        ids=repr,
    )
    def test_what_can_be_no_password_is_refused_when_set_and_false_when_tried(
        self, hasher, unusable
    ):
        with pytest.raises(PasswordValidationError) as refused:
            hasher.hash(unusable)
        assert "password must" in str(refused.value)
        assert hasher.verify(unusable, hasher.hash(GOOD)) is False

    def test_a_hash_that_cannot_be_computed_is_a_backend_error_and_never_a_yes(
        self, hasher, monkeypatch
    ):
        """The real Argon2, asked for more memory than there is (OWASP ASVS 5.0, 11.2.5)."""
        hashed = hasher.hash(GOOD)
        huge = password_module._Cost(passes=1, memory_kib=2**32 - 1, lanes=1)
        monkeypatch.setitem(password_module._COSTS, "cheapest", huge)
        starved = Argon2Hasher("cheapest")
        with pytest.raises(AuthBackendError) as failed:
            starved.hash(GOOD)
        assert failed.value.__cause__ is not None
        assert GOOD not in str(failed.value)
        assert starved.verify_or_dummy(GOOD, None) is False
        assert starved.verify(GOOD, hashed) is True


DAMAGED = [
    "",
    "rubbish",
    "$argon2id$",
    "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA",
    "$argon2id$v=19$m=8,t=1,p=1$$",
    "$argon2id$v=19$m=8,t=1,p=1$!!!!!!!!!!!!!!!$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAA",
    "$argon2id$v=19$m=8,t=0,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "$argon2id$v=19$m=8,t=1,p=9$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "$argon2id$v=19$m=9999999,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "$argon2id$v=19$m=65536,t=99,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "$argon2id$v=19$m=8,t=4294967295,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "$argon2id$v=16$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "$argon2x$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "$6$rounds=5000$usesomesillystri$D4IrlXatmP7rx3P3InaxBeoomnAihCKRVQAr/36eYoEB",
    "5f4dcc3b5aa765d61d8327deb882cf99",
    "pbkdf2_sha256$1000000$salt$hash",
    "é" * 97,
    "\0" * 97,
    "x" * 1_000_000,
]


class TestOneRunOnEveryPath:
    @pytest.mark.parametrize(
        "text",
        [GOOD, "wrong", "", "with\0nul", "half \ud800", "x" * 4096, "x" * 4097, "x" * 10**7, None],
        ids=lambda text: f"{str(text)[:9]!a}{len(text or '')}",
    )
    @pytest.mark.parametrize("stored", ["right", "none", *range(len(DAMAGED))])
    def test_argon2_runs_exactly_once(self, counted, text, stored):
        """Known, unknown, password-less or damaged; a password that is right, wrong or absurd."""
        if stored == "right":
            hashed = counted._argon2.real.hash(GOOD)
        else:
            hashed = None if stored == "none" else DAMAGED[stored]
        matches = counted.verify_or_dummy(text, hashed)
        assert matches is (stored == "right" and text == GOOD)
        assert counted._argon2.runs == 1

    def test_the_first_unknown_user_costs_no_more_than_the_second(self, counted):
        """There is no dummy hash to be computed first."""
        counted.unmatchable()
        assert counted._argon2.runs == 0

    @pytest.mark.timing
    def test_medians_of_unknown_and_wrong_are_within_five_per_cent(self):
        """Time of this thread's processor, so that neighbours on the machine do not count."""
        hasher = Argon2Hasher("owasp_minimum")
        paths = {"wrong": hasher.hash(GOOD), "unknown": None, "damaged": "rubbish"}
        taken = {name: [] for name in paths}
        ratio = math.inf
        while ratio > 1.05 and len(taken["wrong"]) < 120:
            for name, stored in [*paths.items()] * 12:
                started = time.thread_time()
                hasher.verify_or_dummy("wrong", stored)
                taken[name].append(time.thread_time() - started)
            medians = [statistics.median(times) for times in taken.values()]
            ratio = max(medians) / min(medians)
        assert ratio <= 1.05, medians

    @pytest.mark.parametrize("hashed", DAMAGED, ids=range(len(DAMAGED)))
    def test_a_damaged_or_foreign_hash_is_false_and_logged(self, hasher, hashed, caplog):
        with caplog.at_level(logging.DEBUG):
            assert hasher.verify(GOOD, hashed) is False
        assert "damaged or of another kind" in caplog.text
        assert GOOD not in caplog.text
        assert not hashed or hashed not in caplog.text
        assert hasher.needs_rehash(hashed)

    @given(st.data())
    def test_a_hash_with_a_changed_character_never_raises(self, data):
        hasher = Argon2Hasher("cheapest")
        hashed = hasher.hash(GOOD)
        place = data.draw(st.integers(0, len(hashed) - 1))
        changed = hashed[:place] + data.draw(st.characters()) + hashed[place + 1 :]
        if changed != hashed:
            assert hasher.verify(GOOD, changed) is False
        hasher.needs_rehash(changed)

    @given(st.text(), st.text())
    def test_nothing_raises(self, text, hashed):
        assert Argon2Hasher("cheapest").verify(text, hashed) is False

    def test_a_hasher_of_ones_own_gets_the_same_promise(self):
        """verify_or_dummy needs nothing but the abstract methods."""

        class Plain(PasswordHasher):
            asked = 0

            def hash(self, password):
                return f"plain {password}"

            def verify(self, password, hashed):
                self.asked += 1
                return hashed == f"plain {password}"

            def needs_rehash(self, hashed):
                return False

            def unmatchable(self):
                return "nothing"

        plain = Plain()
        assert plain.verify_or_dummy("a", plain.hash("a"))
        assert not plain.verify_or_dummy("a", None)
        assert plain.asked == 2


def errors(text, *, context=(), breached=None, **settings):
    """Return what the policy says about a password."""
    config = PasswordConfig(**settings)
    return validate_password(config, text, context=context, breached=breached).errors


class TestPolicy:
    @pytest.mark.parametrize(
        "text",
        [
            GOOD,
            "xkcd936!",
            "        leading and trailing        ",
            "🙂🙃🙂🙃🙂🙃🙂🙃",
            "пароль от почты",
            "x9" * 32,
            "zq" * 64,
            "line\nbreak and\ttab",
        ],
    )
    def test_a_good_password_passes_without_rules_of_composition(self, text):
        """64 characters and more, any Unicode, spaces (NIST SP 800-63B-4; ASVS 6.2.5, 6.2.9)."""
        assert errors(text) == ()
        check_password(POLICY, text)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            pytest.param("", "at least 8", id="empty"),
            pytest.param("", "blank", id="empty is blank too"),
            pytest.param("xkcd936", "at least 8 characters", id="seven characters"),
            pytest.param("🙂🙃🙂🙃🙂🙃🙂", "at least 8", id="seven emoji of four bytes"),
            pytest.param("e\u0301" * 7, "at least 8", id="seven letters in fourteen code points"),
            pytest.param("zq" * 64 + "z", "at most 128 characters", id="129 characters"),
            pytest.param("x" * 4097, "at most 4096", id="more than is ever looked at"),
            pytest.param("x" * 10**7, "at most 4096", id="ten million"),
            pytest.param(" " * 8, "blank", id="spaces"),
            pytest.param("\u3000\u00a0\u200b\t\n\u2028\u2003\u200d", "blank", id="invisible"),
            pytest.param("with\0nul inside", "NUL", id="NUL"),
            pytest.param("half \ud800 a pair", "surrogate", id="a lone surrogate"),
            pytest.param(None, "must be text", id="None"),
            pytest.param(12345678, "must be text", id="a number"),
            pytest.param(b"correct horse battery", "must be text", id="bytes"),
            pytest.param("password", "most common", id="the most common one"),
            pytest.param("PassWord", "most common", id="in another case"),
            pytest.param("123456789", "most common", id="digits"),
            pytest.param("qwertyuiop", "most common", id="a row of keys"),
            pytest.param("1q2w3e4r", "most common", id="a zigzag of keys"),
        ],
    )
    def test_a_bad_password_is_refused_and_told_why(self, text, said):
        result = validate_password(POLICY, text)
        assert not result.valid
        assert any(said in error for error in result.errors), result.errors
        with pytest.raises(PasswordValidationError, match=said):
            check_password(POLICY, text)

    def test_all_reasons_are_told_at_once_and_the_password_is_not(self):
        with pytest.raises(PasswordValidationError) as refused:
            check_password(PasswordConfig(min_length=12, require_digit=True), "trustNOone")
        assert str(refused.value) == (
            "The password must have at least 12 characters; The password must contain a digit"
        )

    @pytest.mark.parametrize(
        ("setting", "without", "with_it"),
        [
            ("require_uppercase", "all small letters", "One capital letter"),
            ("require_uppercase", "überall klein", "Überall klein"),
            ("require_lowercase", "ALL CAPITALS", "aLL CAPITALS"),
            ("require_digit", "no digit here", "1 digit here"),
            ("require_digit", "no digit here", "٣ digit here"),
            ("require_special", "onlyletters123", "only letters 123"),
            ("require_special", "onlyletters123", "only-letters123"),
        ],
    )
    def test_rules_of_composition_hold_where_they_are_asked_for(self, setting, without, with_it):
        assert "must contain" in errors(without, **{setting: True})[0]
        assert errors(with_it, **{setting: True}) == ()
        assert errors(without) == ()

    @given(TYPABLE)
    def test_lengths_count_code_points_of_the_normalised_text(self, text):
        length = len(unicodedata.normalize("NFC", text))
        said = " ".join(errors(text))
        assert ("at least 8" in said) is (length < 8)
        assert ("at most 128" in said) is (length > 128)

    @given(st.one_of(st.text(), st.none(), st.binary()), st.lists(st.text(), max_size=3))
    def test_nothing_raises_but_the_typed_error(self, text, context):
        result = validate_password(POLICY, text, context=context)
        assert result.valid is (result.errors == ())

    @given(TYPABLE)
    def test_what_the_policy_takes_can_be_hashed_and_verified(self, text):
        if validate_password(POLICY, text).valid:
            hasher = Argon2Hasher("cheapest")
            assert hasher.verify(text, hasher.hash(text))


class TestCommonPasswords:
    def test_ten_thousand_of_them_are_long_enough_to_matter(self):
        """OWASP ASVS 5.0, 6.2.4, asks for 3,000 that the other rules would let through."""
        words = Path(password_module.__file__).parent.joinpath("_passwords", "common.txt")
        listed = words.read_text(encoding="utf-8").splitlines()
        effective = [word for word in listed if not validate_password(POLICY, word).valid]
        assert sum(len(word) >= POLICY.min_length for word in effective) == 10_000
        assert effective == listed == sorted(set(listed))

    def test_source_and_licence_are_beside_the_list(self):
        notice = Path(password_module.__file__).parent.joinpath("_passwords", "SOURCE.txt")
        text = notice.read_text(encoding="utf-8")
        assert "SecLists" in text
        assert "MIT License" in text

    def test_shorter_ones_are_known_where_a_policy_allows_them(self):
        assert "most common" in errors("123456", min_length=6)[0]

    @pytest.mark.parametrize(
        "text", ["password and more", "my password", "xpassword", "passwordpasswordx"]
    )
    def test_the_whole_password_is_compared(self, text):
        assert not is_common(text)

    def test_the_list_is_read_when_a_password_is_first_set(self):
        code = """
from derp_auth_lite import password
from derp_auth_lite._passwords import common
from derp_auth_lite.config import PasswordConfig
password.Argon2Hasher("cheapest").verify_or_dummy("x", None)
assert common._common.cache_info().currsize == 0
password.validate_password(PasswordConfig(), "xkcd 936")
assert common._common.cache_info().currsize == 1
"""
        checkout = Path(__file__).parent.parent
        subprocess.run([sys.executable, "-c", code], check=True, cwd=checkout)


CONTEXT = ("ada.lovelace@analytical.example", "Ada", "Lovelace", "Difference Engine Ltd")


class TestContext:
    @pytest.mark.parametrize(
        "text",
        [
            "ada.lovelace@analytical.example",
            "ADA.LOVELACE@ANALYTICAL.EXAMPLE",
            "ada.lovelace",
            "adalovelace",
            "Ada Lovelace",
            "lovelace",
            "Lovelace1",
            "lovelace2026",
            "2026lovelace!",
            "l.o.v.e.l.a.c.e",
            "ecalevol",
            "lovelacelovelace",
            "ada2026!",
            "analytical",
            "analytical1",
            "analytical.example",
            "Difference Engine",
            "engine difference",
            "AdaAda99",
            "ada@lovelace",
            "difference-engine-ltd",
            "differenceengineltd99",
            "99ecalevol99",
        ],
    )
    def test_address_names_and_site_are_no_passwords_nor_are_trivial_variants(self, text):
        """OWASP ASVS 5.0, 6.1.2 and 6.2.11."""
        assert any("your address, your name" in error for error in errors(text, context=CONTEXT))

    @pytest.mark.parametrize(
        "text",
        [
            "lovelace wrote the first program",
            "my dear ada lovelace",
            "lovelace20261",
            "62026lovelace",
            "adverb lace love",
            "engineering",
            "differencial",
            GOOD,
        ],
    )
    def test_a_password_that_only_contains_a_word_passes(self, text):
        assert errors(text, context=CONTEXT) == ()

    def test_without_context_nothing_is_refused_for_it(self):
        assert errors("ada.lovelace") == ()

    @pytest.mark.parametrize("context", [("",), ("@",), ("a@b",), ("Al", "B."), ("...", "   ")])
    def test_words_too_short_to_guess_from_refuse_nothing(self, context):
        assert errors("12ab3456x", context=context) == ()
        assert errors("al 1234 b", context=context) == ()

    def test_a_long_context_costs_little(self):
        started = time.perf_counter()
        errors("correct horse", context=["x" * 100_000, "a.b-c" * 20_000, "@" * 100_000])
        assert time.perf_counter() - started < 5


def range_server(*passwords: str, count: int = 3):
    """Return a server of the range protocol that knows *passwords*, and pads its answers."""
    digests = [hashlib.sha1(text.encode()).hexdigest().upper() for text in passwords]

    def answer(call):
        prefix = call.path.rpartition("/")[2]
        lines = [f"{d[5:]}:{count}" for d in digests if d.startswith(prefix)]
        lines += [f"{hashlib.sha1(b'%d' % n).hexdigest().upper()[5:]}:0" for n in range(800)]
        return Reply(200, "\r\n".join(lines).encode(), {"Content-Type": "text/plain"})

    return LoopbackServer(answer)


class TestHaveIBeenPwned:
    def test_a_breached_password_is_found_and_another_is_not(self):
        with range_server(GOOD) as server:
            breached = HaveIBeenPwned(f"{server.url}/range/")
            assert breached(GOOD)
            assert not breached(GOOD + "!")

    def test_five_characters_of_the_hash_leave_the_machine_and_nothing_else(self):
        with range_server(GOOD) as server:
            HaveIBeenPwned(f"{server.url}/range/")(GOOD)
        (call,) = server.calls
        digest = hashlib.sha1(GOOD.encode()).hexdigest().upper()
        assert (call.method, call.target) == ("GET", f"/range/{digest[:5]}")
        assert call.headers["add-padding"] == "true"
        sent = f"{call.target} {call.headers} {call.content!r}".upper()
        assert digest[5:10] not in sent
        assert GOOD.upper() not in sent

    def test_padding_is_no_find(self):
        with range_server(GOOD, count=0) as server:
            assert not HaveIBeenPwned(f"{server.url}/range/")(GOOD)

    @pytest.mark.parametrize("turn", [str.lower, str.upper])
    def test_the_case_of_an_answer_does_not_matter(self, turn):
        digest = hashlib.sha1(GOOD.encode()).hexdigest()
        with LoopbackServer(lambda _: Reply(200, turn(f"{digest[5:]}:7").encode())) as server:
            assert HaveIBeenPwned(server.url)(GOOD)

    def test_an_empty_answer_is_no_find(self):
        with LoopbackServer(lambda _: Reply(200, b"")) as server:
            assert not HaveIBeenPwned(server.url)(GOOD)

    def test_the_normalised_password_is_asked_for(self):
        with range_server("café au lait") as server:
            assert HaveIBeenPwned(server.url)("cafe\u0301 au lait")

    @pytest.mark.parametrize(
        "url", ["http://api.pwnedpasswords.com/range/", "ftp://x.test/", "", "https://u:p@x.test/"]
    )
    def test_the_service_is_asked_over_https(self, url):
        with pytest.raises(ConfigError, match="https"):
            HaveIBeenPwned(url)

    @pytest.mark.parametrize("fault", sorted(FAULTS))
    def test_a_broken_service_lets_the_password_pass_in_time(self, fault, caplog):
        with LoopbackServer(FAULTS[fault]) as server:
            breached = HaveIBeenPwned(server.url, timeout=0.3)
            started = time.perf_counter()
            with caplog.at_level(logging.DEBUG):
                assert errors(GOOD, breached=breached) == ()
            assert time.perf_counter() - started < 2
        self.assert_no_trace_of_the_password(caplog)

    def test_an_unreachable_service_is_logged_and_lets_the_password_pass(self, caplog):
        breached = HaveIBeenPwned(f"http://127.0.0.1:{free_port()}/range/")
        with pytest.raises(AuthBackendError):
            breached(GOOD)
        with caplog.at_level(logging.DEBUG):
            check_password(POLICY, GOOD, breached=breached)
        assert "the breached-password check failed" in caplog.text
        self.assert_no_trace_of_the_password(caplog)

    def test_a_find_is_refused_and_told(self, caplog):
        with (
            range_server(GOOD) as server,
            caplog.at_level(logging.DEBUG),
            pytest.raises(PasswordValidationError, match="data breach"),
        ):
            check_password(POLICY, GOOD, breached=HaveIBeenPwned(f"{server.url}/range/"))
        self.assert_no_trace_of_the_password(caplog)

    def test_a_password_that_is_refused_already_is_not_asked_about(self):
        with range_server("password") as server:
            assert len(errors("password", breached=HaveIBeenPwned(server.url))) == 1
        assert server.calls == []

    def test_a_check_of_ones_own_may_raise_anything(self, caplog):
        def breached(text):
            raise RuntimeError(f"cannot look up {text}")

        assert errors(GOOD, breached=breached) == ()
        assert "RuntimeError" in caplog.text
        self.assert_no_trace_of_the_password(caplog)

    def assert_no_trace_of_the_password(self, caplog):
        """Neither the password nor the beginning of its SHA-1, which would help a guesser."""
        ours = [record for record in caplog.records if record.name.startswith("derp_auth_lite")]
        text = "\n".join(record.getMessage() + str(record.exc_text) for record in ours)
        assert GOOD not in text
        assert hashlib.sha1(GOOD.encode()).hexdigest()[:5] not in text.lower()
