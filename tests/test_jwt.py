"""Access tokens tell who is signed in to whoever holds the secret; nothing else gets through."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
import pickle
import random
import threading
from datetime import UTC, datetime, timedelta

import jwt as pyjwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from derp_auth_lite._keys import KeyRing
from derp_auth_lite.config import JWTConfig
from derp_auth_lite.exceptions import ConfigError
from derp_auth_lite.jwt import AccessClaims, AccessTokens, TokenPair

from .servers.loopback import LoopbackServer, Reply
from .support import MovableClock

SECRET = "the current secret, random and 32 bytes or longer"
OLD = "the secret before it, as long and as random as that"
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOW = int(START.timestamp())
WHO = {
    "user_id": "0198b2a0-1111-7222-8333-444455556666",
    "session_id": "0198b2a0-1111-7222-8333-444455556667",
    "role": "member",
    "org_id": "0198b2a0-1111-7222-8333-444455556668",
    "org_role": "owner",
}
CLAIMS = {
    "sub": WHO["user_id"],
    "session_id": WHO["session_id"],
    "role": "member",
    "iat": NOW,
    "exp": NOW + 900,
}
HEADER = {"alg": "HS256", "kid": KeyRing(SECRET).kid, "typ": "at+jwt"}
FUZZED_TOKENS = 100_000


def encode(data: bytes | str) -> str:
    """Return base64url without padding."""
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def compact(data: object) -> str:
    """Return JSON as libraries for JWT write it."""
    return json.dumps(data, separators=(",", ":"))


def sign(message: str, secret: str | bytes = SECRET, digest: str = "sha256") -> str:
    """Return *message* and its signature, as whoever holds the secret would."""
    key = secret.encode() if isinstance(secret, str) else secret
    return f"{message}.{encode(hmac.digest(key, message.encode(), digest))}"


def forge(header=HEADER, claims=CLAIMS, secret=SECRET, digest="sha256") -> str:
    """Return a token whose signature is right, whatever header and claims say; text stays as is."""
    parts = [part if isinstance(part, str) else compact(part) for part in (header, claims)]
    return sign(".".join(map(encode, parts)), secret, digest)


@pytest.fixture
def clock():
    return MovableClock(START)


def tokens(clock, **settings) -> AccessTokens:
    remember = {"remember": settings.pop("remember")} if "remember" in settings else {}
    return AccessTokens(JWTConfig(**{"secret": SECRET, **settings}), clock=clock, **remember)


@pytest.fixture
def access(clock):
    return tokens(clock)


class TestTokenPair:
    def test_the_tokens_do_not_show(self):
        pair = TokenPair(
            access_token="head.body.hand", refresh_token="again", expires_in=900, expires_at=START
        )
        assert "body" not in repr(pair)
        assert "again" not in repr(pair)
        assert pair.token_type == "bearer"

    def test_it_cannot_be_changed(self):
        pair = TokenPair(access_token="a", refresh_token="r", expires_in=900, expires_at=START)
        with pytest.raises(dataclasses.FrozenInstanceError):
            pair.access_token = "b"
        assert pickle.loads(pickle.dumps(pair)) == pair


class TestIssue:
    def test_what_is_issued_is_verified(self, access):
        token, expires_at = access.issue(**WHO)
        assert access.verify(token) == AccessClaims(
            **WHO, issued_at=START, expires_at=START + timedelta(minutes=15)
        )
        assert expires_at == START + timedelta(minutes=15)

    @given(
        st.text(min_size=1, max_size=50),
        st.text(min_size=1, max_size=50),
        st.text(min_size=1, max_size=50),
        st.none() | st.text(min_size=1, max_size=50),
        st.none() | st.text(min_size=1, max_size=50),
    )
    def test_any_text_makes_the_round_trip(self, user_id, session_id, role, org_id, org_role):
        access = tokens(MovableClock(START))
        who = (user_id, session_id, role, org_id, org_role)
        token, _ = access.issue(**dict(zip(AccessClaims._fields, who, strict=False)))
        assert access.verify(token)[:5] == who

    def test_another_service_with_the_secret_can_verify(self, access):
        """The header names type (RFC 9068) and key; the claims are RFC 7519's and ours."""
        token, expires_at = access.issue(**WHO)
        options = {"verify_exp": False, "verify_iat": False}
        assert pyjwt.decode(token, SECRET, ["HS256"], options=options) == {
            "sub": WHO["user_id"],
            "session_id": WHO["session_id"],
            "role": "member",
            "org_id": WHO["org_id"],
            "org_role": "owner",
            "iat": NOW,
            "exp": int(expires_at.timestamp()),
        }
        assert pyjwt.get_unverified_header(token) == HEADER

    def test_a_token_that_another_service_makes_like_ours_is_taken(self, access):
        made = pyjwt.encode(
            CLAIMS, SECRET, "HS256", headers={"typ": "at+jwt", "kid": HEADER["kid"]}
        )
        assert access.verify(made).user_id == WHO["user_id"]

    def test_times_are_whole_seconds_whatever_the_clock_says(self, access, clock):
        clock.advance(microseconds=999_999)
        token, expires_at = access.issue(**WHO)
        assert expires_at == START + timedelta(minutes=15)
        assert access.verify(token).expires_at == expires_at

    @pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
    def test_the_configured_algorithm_signs(self, clock, algorithm):
        access = tokens(clock, algorithm=algorithm)
        token, _ = access.issue(**WHO)
        assert pyjwt.get_unverified_header(token)["alg"] == algorithm
        assert access.verify(token) is not None

    def test_claims_too_long_to_be_taken_are_not_signed(self, access):
        with pytest.raises(ValueError, match="8192"):
            access.issue(**{**WHO, "role": "x" * 8192})

    def test_nothing_secret_shows(self, access):
        assert SECRET not in repr(access)
        assert SECRET not in repr(access.__dict__["_verified"])

    @pytest.mark.parametrize(
        "secret",
        [
            "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtest\n",
            "\n-----BEGIN RSA PRIVATE KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQ\n",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBQ0bGhYd2pQm4gqv3NnJmUuVw1v someone@somewhere",
            '{"kty": "oct", "k": "c29tZXRoaW5nIHRoYXQgaXMgbG9uZyBlbm91Z2g"}',
            '{"keys": [{"kty": "RSA", "n": "c29tZXRoaW5nIHRoYXQgaXMgbG9uZyBlbm91Z2g"}]}',
        ],
    )
    @pytest.mark.parametrize("where", ["secret", "previous_secrets"])
    def test_a_key_file_is_no_secret(self, clock, secret, where):
        value = secret if where == "secret" else [secret]
        with pytest.raises(ConfigError, match="random text") as refused:
            tokens(clock, **{where: value})
        assert secret not in str(refused.value)


class TestTimes:
    @pytest.mark.parametrize("remembered", [False, True])
    @pytest.mark.parametrize(
        ("seconds", "valid"),
        [
            (0, True),
            (899, True),
            (899.999_999, True),
            (900, False),
            (900.000_001, False),
            (901, False),
            (10**8, False),
        ],
    )
    def test_a_token_is_valid_before_exp_and_no_longer(
        self, access, clock, seconds, valid, remembered
    ):
        token, _ = access.issue(**WHO)
        if remembered:
            assert access.verify(token) is not None
        clock.advance(seconds=seconds)
        assert (access.verify(token) is not None) is valid

    @pytest.mark.parametrize("remembered", [False, True])
    @pytest.mark.parametrize(
        ("seconds", "valid"), [(-59, True), (-60, True), (-60.000_001, False), (-3600, False)]
    )
    def test_a_token_from_the_future_is_refused_beyond_a_minute(
        self, access, clock, seconds, valid, remembered
    ):
        """What was made while a clock ran ahead does not outlive the correction of the clock."""
        token, _ = access.issue(**WHO)
        if remembered:
            assert access.verify(token) is not None
        clock.advance(seconds=seconds)
        assert (access.verify(token) is not None) is valid

    @pytest.mark.parametrize(
        ("seconds", "valid"), [(-1, False), (-0.000_001, False), (0, True), (1, True)]
    )
    def test_nbf_is_held_to_the_second(self, access, clock, seconds, valid):
        token = forge(claims={**CLAIMS, "nbf": NOW + 100})
        clock.advance(seconds=100 + seconds)
        assert (access.verify(token) is not None) is valid

    def test_a_clock_that_goes_back_and_forth_revives_nothing_for_good(self, access, clock):
        token, _ = access.issue(**WHO)
        for seconds, valid in [(900, False), (-1, True), (1, False), (3600, False)]:
            clock.advance(seconds=seconds)
            assert (access.verify(token) is not None) is valid

    @pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
    @pytest.mark.parametrize(
        "value",
        [
            None,
            True,
            "",
            str(NOW + 900),
            NOW + 900.5,
            float(NOW + 900),
            -1,
            10**12,
            10**400,
            [NOW + 900],
            {"at": NOW + 900},
        ],
        ids=repr,
    )
    def test_a_time_that_is_no_whole_second_is_refused(self, access, name, value):
        assert access.verify(forge(claims={**CLAIMS, name: value})) is None

    def test_the_last_second_of_datetime_is_taken_and_the_next_one_refused(self, access):
        assert access.verify(forge(claims={**CLAIMS, "exp": 253_402_300_799})) is not None
        assert access.verify(forge(claims={**CLAIMS, "exp": 253_402_300_800})) is None


class TestClaims:
    def test_the_forged_token_of_these_tests_is_taken_when_nothing_is_wrong_with_it(self, access):
        assert access.verify(forge()).user_id == WHO["user_id"]

    @pytest.mark.parametrize("name", ["sub", "session_id", "role", "iat", "exp"])
    def test_a_claim_that_is_left_out_is_missed(self, access, name):
        claims = {key: value for key, value in CLAIMS.items() if key != name}
        assert access.verify(forge(claims=claims)) is None

    @pytest.mark.parametrize("name", ["sub", "session_id", "role", "org_id", "org_role"])
    @pytest.mark.parametrize("value", ["", 0, 1, True, [], ["x"], {}, 1.5], ids=repr)
    def test_a_claim_of_another_type_or_empty_is_refused(self, access, name, value):
        assert access.verify(forge(claims={**CLAIMS, name: value})) is None

    def test_organization_and_role_may_be_left_out_or_null(self, access):
        for claims in (CLAIMS, {**CLAIMS, "org_id": None, "org_role": None}):
            found = access.verify(forge(claims=claims))
            assert (found.org_id, found.org_role) == (None, None)

    @pytest.mark.parametrize(
        "payload",
        [
            "",
            "null",
            "true",
            "7",
            '"text"',
            "[]",
            "{",
            "{}",
            "not JSON",
            "NaN",
            compact({**CLAIMS, "role": float("nan")}),
            compact({**CLAIMS, "x": float("inf")}),
            compact(CLAIMS)[:-1] + ', "exp": 99999999999}',
            compact(CLAIMS)[:-1] + ', "sub": "somebody else"}',
            compact(CLAIMS) + " {}",
            "[" * 5000,
            '{"a":' * 1000,
            "1" * 5000,
            "\ufeff" + compact(CLAIMS),
        ],
        ids=lambda text: f"{text[:20]}…{len(text)}",
    )
    def test_a_payload_that_is_no_plain_object_is_refused(self, access, payload):
        assert access.verify(forge(claims=payload)) is None

    @pytest.mark.parametrize("payload", [b"\xff\xfe", b'{"sub": "\xff"}', b"\0"])
    def test_a_payload_that_is_no_utf_8_is_refused(self, access, payload):
        assert access.verify(sign(f"{encode(compact(HEADER))}.{encode(payload)}")) is None

    @pytest.mark.parametrize(
        ("configured", "claim", "valid"),
        [
            ("https://a.test", "https://a.test", True),
            ("https://a.test", "https://a.test/", False),
            ("https://a.test", None, False),
            ("https://a.test", ["https://a.test"], False),
            (None, "https://anybody.test", True),
        ],
    )
    def test_the_issuer_is_the_configured_one(self, clock, configured, claim, valid):
        access = tokens(clock, issuer=configured)
        claims = {**CLAIMS, "iss": claim} if claim is not None else CLAIMS
        assert (access.verify(forge(claims=claims)) is not None) is valid

    @pytest.mark.parametrize(
        ("configured", "claim", "valid"),
        [
            ("api", "api", True),
            ("api", ["web", "api"], True),
            ("api", "web", False),
            ("api", ["web"], False),
            ("api", [], False),
            ("api", [["api"]], False),
            ("api", None, False),
            ("api", {"api": True}, False),
            (None, None, True),
            (None, "api", False),
            (None, ["api"], False),
            (None, [None], False),
            (None, [], False),
        ],
    )
    def test_the_audience_holds_the_configured_one(self, clock, configured, claim, valid):
        """A token for somebody else is refused too where no audience is configured."""
        access = tokens(clock, audience=configured)
        claims = {**CLAIMS, "aud": claim} if claim is not None else CLAIMS
        assert (access.verify(forge(claims=claims)) is not None) is valid

    def test_configured_issuer_and_audience_are_in_the_token(self, clock):
        access = tokens(clock, issuer="https://a.test", audience="api")
        token, _ = access.issue(**WHO)
        assert access.verify(token) is not None
        found = pyjwt.decode(token, options={"verify_signature": False})
        assert (found["iss"], found["aud"]) == ("https://a.test", "api")


def header(**changes):
    """Return our header with changes; ``None`` leaves a member out."""
    changed = {**HEADER, **changes}
    return compact({name: value for name, value in changed.items() if value is not None})


class TestHeader:
    """Each of these is signed with the right secret: only the header is wrong."""

    @pytest.mark.parametrize(
        "wrong",
        [
            pytest.param(header(alg=None), id="no alg"),
            pytest.param(header(alg="none"), id="alg none"),
            pytest.param(header(alg="NoNe"), id="alg none in another case"),
            pytest.param(header(alg=""), id="alg empty"),
            pytest.param(header(alg="hs256"), id="alg in small letters"),
            pytest.param(header(alg="HS384"), id="another HMAC"),
            pytest.param(header(alg="RS256"), id="an algorithm with public keys"),
            pytest.param(header(alg="ES256"), id="an elliptic curve"),
            pytest.param(header(alg=["HS256"]), id="a list of algorithms"),
            pytest.param(header(alg=256), id="a number as algorithm"),
            pytest.param(header(typ=None), id="no typ"),
            pytest.param(header(typ="JWT"), id="typ JWT"),
            pytest.param(header(typ="application/at+jwt"), id="typ as a media type"),
            pytest.param(header(typ="AT+JWT"), id="typ in capitals"),
            pytest.param(header(typ="rt+jwt"), id="another type of token"),
            pytest.param(header(kid=None), id="no kid"),
            pytest.param(header(kid=""), id="kid empty"),
            pytest.param(header(kid="00000000"), id="kid unknown"),
            pytest.param(header(kid=KeyRing(OLD).kid), id="kid of a key that is not configured"),
            pytest.param(header(kid=HEADER["kid"].upper()), id="kid in capitals"),
            pytest.param(header(kid="' OR 1=1 --"), id="kid with SQL"),
            pytest.param(header(kid="../../../../dev/null"), id="kid as a path"),
            pytest.param(header(kid="| id"), id="kid as a command"),
            pytest.param(header(kid=0), id="kid as a number"),
            pytest.param(header(kid=[HEADER["kid"]]), id="kid as a list"),
            pytest.param(header(crit=["exp"]), id="crit with a known name"),
            pytest.param(header(crit=["x"], x=1), id="crit with an unknown name"),
            pytest.param(header(crit=[]), id="crit empty"),
            pytest.param(header(crit="x"), id="crit as text"),
            pytest.param(header(b64=False, crit=["b64"]), id="b64 false"),
            pytest.param(header(b64=True, crit=["b64"]), id="b64 true"),
            pytest.param(header(zip="DEF"), id="zip"),
            pytest.param(header(cty="JWT"), id="a token in a token"),
            pytest.param(header(jwk={"kty": "oct", "k": encode(SECRET)}), id="jwk with our key"),
            pytest.param(header()[:-1] + ', "alg": "none"}', id="alg twice"),
            pytest.param('{"alg": "none", ' + header()[1:], id="alg twice, the right one last"),
            pytest.param(header() + " ", id="white space after"),
            pytest.param("", id="no header"),
            pytest.param("{}", id="an empty header"),
            pytest.param("[]", id="a list as header"),
            pytest.param("null", id="null as header"),
            pytest.param("[" * 5000, id="a deep header"),
            pytest.param('{"alg":' * 900, id="a deep header of objects"),
        ],
    )
    def test_a_header_other_than_ours_is_refused(self, access, wrong):
        assert access.verify(forge(header=wrong)) is None

    def test_our_own_header_is_taken(self, access):
        assert access.verify(forge(header=header())) is not None

    @pytest.mark.parametrize("algorithm", ["none", "None", "nOnE"])
    @pytest.mark.parametrize("signature", ["", "AA", encode(b"\0" * 32)])
    def test_a_token_without_a_signature_is_refused(self, access, algorithm, signature):
        message = f"{encode(header(alg=algorithm))}.{encode(compact(CLAIMS))}"
        assert access.verify(f"{message}.{signature}") is None
        ours = access.issue(**WHO)[0].rpartition(".")[0]
        assert access.verify(f"{ours}.{signature}") is None

    def test_keys_that_a_token_brings_or_points_to_are_not_used_or_fetched(self, access):
        """The attacker's key signs, and the header offers it in every way there is."""
        with LoopbackServer(lambda _: Reply(200, b"{}")) as server:
            key = "the key of an attacker, long enough to sign with"
            offered = {"kty": "oct", "kid": HEADER["kid"], "k": encode(key)}
            for tricks in (
                {"jwk": offered},
                {"jku": f"{server.url}/keys"},
                {"x5u": f"{server.url}/certificate"},
                {"x5c": [base64.b64encode(key.encode()).decode()]},
                {"kid": f"{server.url}/key"},
            ):
                assert access.verify(forge(header=header(**tricks), secret=key)) is None
            assert server.calls == []

    def test_a_public_key_is_no_hmac_key(self, access):
        """Key confusion: what everybody knows, a public key or an empty key, signs nothing."""
        public = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n"
        for key in (public, "", HEADER["kid"], "HS256", hashlib.sha256(b"").digest()):
            assert access.verify(forge(secret=key)) is None

    def test_a_token_of_another_configured_algorithm_is_refused(self, clock):
        token, _ = tokens(clock, algorithm="HS256").issue(**WHO)
        assert tokens(clock, algorithm="HS512").verify(token) is None


class TestEncoding:
    def test_padding_is_refused_though_pyjwt_takes_it(self, access):
        head, body, hand = access.issue(**WHO)[0].split(".")
        padded = f"{head}.{body}.{hand}="
        assert pyjwt.decode(padded, SECRET, ["HS256"], options={"verify_exp": False})
        assert access.verify(padded) is None
        for body_padded in (body + "=" * (-len(body) % 4 or 4), body + "=="):
            assert access.verify(sign(f"{head}.{body_padded}")) is None

    @pytest.mark.parametrize("stray", ["\n", "\r\n", " ", "\t", "\0", "+", "/", "=", "?", "é", "."])
    def test_stray_characters_are_refused_wherever_they_are(self, access, stray):
        token, _ = access.issue(**WHO)
        places = [0, 1, token.index("."), token.index(".") + 1, token.rindex(".") + 1, len(token)]
        for place in places:
            assert access.verify(token[:place] + stray + token[place:]) is None

    @pytest.mark.parametrize("stray", ["\n", " ", "+", "?", "="])
    def test_stray_characters_are_refused_though_the_signature_covers_them(self, access, stray):
        head, body, _ = access.issue(**WHO)[0].split(".")
        for place in (0, 1, len(body)):
            assert access.verify(sign(f"{head}.{body[:place]}{stray}{body[place:]}")) is None

    def test_unused_bits_are_zero(self, access):
        """The last character of a 32-byte signature has two of them: three more spellings."""
        token, _ = access.issue(**WHO)
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        last = alphabet.index(token[-1])
        for bits in (1, 2, 3):
            assert access.verify(token[:-1] + alphabet[last | bits]) is None
        head, payload = encode(compact(HEADER)), encode(compact(CLAIMS) + " ")
        spare = alphabet[alphabet.index(payload[-1]) | 1]
        assert access.verify(sign(f"{head}.{payload[:-1]}{spare}")) is None

    @pytest.mark.parametrize(
        "token",
        [
            None,
            7,
            1.5,
            True,
            b"head.body.hand",
            bytearray(b"a.b.c"),
            ["a", "b", "c"],
            {},
            object(),
            "",
            ".",
            "..",
            "...",
            "a.b",
            "a.b.c",
            "a.b.c.d",
            "é.é.é",
            "\ud800.\udfff.\ud800",
            "\0.\0.\0",
            "." * 8192,
            "." * 8193,
            "a" * 10_000_000,
        ],
        ids=lambda token: f"{str(token)[:12]!a}",
    )
    def test_what_is_no_token_is_none(self, access, token):
        assert access.verify(token) is None

    def test_a_token_may_have_8192_characters_and_no_more(self, access):
        made = [forge(claims={**CLAIMS, "x": "x" * length}) for length in range(5800, 6000)]
        assert [access.verify(token) is not None for token in made] == [
            len(token) <= 8192 for token in made
        ]
        assert len(made[0]) < 8192 < len(made[-1])


class TestKeys:
    def test_tokens_of_a_previous_secret_are_taken_and_new_ones_have_the_current(self, clock):
        old, _ = tokens(clock, secret=OLD).issue(**WHO)
        rotated = tokens(clock, previous_secrets=[OLD])
        assert rotated.verify(old) is not None
        new, _ = rotated.issue(**WHO)
        assert pyjwt.get_unverified_header(new)["kid"] == KeyRing(SECRET).kid
        assert pyjwt.get_unverified_header(old)["kid"] == KeyRing(OLD).kid
        assert tokens(clock, secret=OLD).verify(new) is None

    def test_tokens_of_a_retired_secret_are_refused(self, access, clock):
        old, _ = tokens(clock, secret=OLD).issue(**WHO)
        assert access.verify(old) is None

    def test_a_kid_picks_the_key_and_no_other_is_tried(self, clock):
        rotated = tokens(clock, previous_secrets=[OLD])
        assert rotated.verify(forge(header(kid=KeyRing(OLD).kid), secret=SECRET)) is None
        assert rotated.verify(forge(header(kid=KeyRing(SECRET).kid), secret=OLD)) is None


class CountingAlgorithm:
    """The real algorithm, and how often it was asked."""

    def __init__(self, real):
        self.real = real
        self.signed = 0

    def sign(self, message, key):
        self.signed += 1
        return self.real.sign(message, key)


@pytest.fixture
def counted(access):
    access._algorithm = CountingAlgorithm(access._algorithm)
    return access


def remembered(access: AccessTokens) -> int:
    return len(access._verified._young) + len(access._verified._old)


class TestMemory:
    def test_a_token_is_verified_once_and_gives_the_same_again(self, counted):
        token, _ = counted.issue(**WHO)
        counted._algorithm.signed = 0
        first, second = counted.verify(token), counted.verify(token)
        assert first == second is not None
        assert counted._algorithm.signed == 1

    def test_a_refused_token_is_not_remembered(self, counted):
        token = counted.issue(**WHO)[0][:-4] + "AAAA"
        for _ in range(3):
            assert counted.verify(token) is None
        assert remembered(counted) == 0

    def test_without_memory_each_use_is_verified(self, clock):
        access = tokens(clock, remember=0)
        access._algorithm = CountingAlgorithm(access._algorithm)
        token, _ = access.issue(**WHO)
        assert access.verify(token) == access.verify(token) is not None
        assert access._algorithm.signed == 3
        assert remembered(access) == 0

    def test_no_more_tokens_are_kept_than_was_said(self, clock):
        access = tokens(clock, remember=100)
        for number in range(1000):
            assert access.verify(access.issue(**{**WHO, "user_id": str(number)})[0]) is not None
            assert remembered(access) <= 100

    def test_a_token_in_use_stays_while_others_come_and_go(self, clock):
        access = tokens(clock, remember=100)
        access._algorithm = CountingAlgorithm(access._algorithm)
        token, _ = access.issue(**WHO)
        access.verify(token)
        for number in range(300):
            access.verify(access.issue(**{**WHO, "user_id": str(number)})[0])
            before = access._algorithm.signed
            assert access.verify(token).user_id == WHO["user_id"]
            assert access._algorithm.signed == before

    def test_what_is_kept_cannot_be_presented(self, access):
        token, _ = access.issue(**WHO)
        access.verify(token)
        kept = repr(vars(access._verified))
        assert token not in kept
        assert token.rpartition(".")[2] not in kept

    def test_many_threads_share_it(self, clock):
        access = tokens(clock, remember=16)
        issued = {str(n): access.issue(**{**WHO, "user_id": str(n)})[0] for n in range(64)}
        wrong, start = [], threading.Barrier(8)

        def work(seed):
            pick = random.Random(seed)
            start.wait()
            for _ in range(500):
                user_id = pick.choice(list(issued))
                found = access.verify(issued[user_id])
                if found is None or found.user_id != user_id:
                    wrong.append(user_id)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert remembered(access) <= 16 + 8


def mutations(pick: random.Random, real: list[str]):
    """Yield tokens for ever, each one made from real ones in a way that breaks it."""
    alphabet = "ABCXYZabcxyz0189-_.=+/ \n\0é\ud800\u212a"
    while True:
        token = pick.choice(real)
        place, other = pick.randrange(len(token)), pick.choice(real)
        kind = pick.randrange(8)
        if kind == 0:
            yield token[:place] + pick.choice(alphabet) + token[place + 1 :]
        elif kind == 1:
            yield token[:place] + token[place + 1 :]
        elif kind == 2:
            yield token[:place] + pick.choice(alphabet) * pick.randrange(1, 9) + token[place:]
        elif kind == 3:
            yield token[:place] + other[place:]
        elif kind == 4:
            yield ".".join(pick.sample(token.split("."), 3))
        elif kind == 5:
            parts, others = token.split("."), other.split(".")
            yield ".".join(pick.choice(pair) for pair in zip(parts, others, strict=True))
        elif kind == 6:
            yield token[:place]
        else:
            yield "".join(map(chr, (pick.randrange(0x110000) for _ in range(pick.randrange(60)))))


class TestFuzz:
    def test_100_000_fuzzed_tokens_are_none_and_never_an_exception(self, clock):
        access = tokens(clock)
        foreign = [
            tokens(clock, secret=OLD).issue(**WHO)[0],
            tokens(clock, algorithm="HS512").issue(**WHO)[0],
        ]
        issued = [access.issue(**{**WHO, "user_id": f"user {n}"})[0] for n in range(20)]
        real = set(issued)
        stream = mutations(random.Random(2026), issued + foreign)
        tried = 0
        while tried < FUZZED_TOKENS:
            token = next(stream)
            if token not in real:
                assert access.verify(token) is None, token
                tried += 1
        assert all(access.verify(token) for token in issued)

    @given(
        st.one_of(
            st.text(), st.binary(), st.builds("{}.{}.{}".format, st.text(), st.text(), st.text())
        )
    )
    def test_anything_at_all_is_none(self, anything):
        assert tokens(MovableClock(START)).verify(anything) is None

    @given(
        st.dictionaries(
            st.sampled_from(
                ["sub", "session_id", "role", "org_id", "iat", "exp", "nbf", "aud", "iss", "x"]
            ),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                lambda inner: (
                    st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
                ),
                max_leaves=5,
            )
            | st.integers(NOW - 1000, NOW + 1000),
        )
    )
    def test_what_we_take_pyjwt_takes_too(self, claims):
        """Signed claims of any shape never raise, and no check of PyJWT's is missing here."""
        token = forge(claims={**CLAIMS, **claims})
        found = tokens(MovableClock(START)).verify(token)
        if found is None:
            return
        options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
        theirs = pyjwt.decode(token, SECRET, ["HS256"], options=options)
        assert (theirs["sub"], theirs["session_id"]) == (found.user_id, found.session_id)
