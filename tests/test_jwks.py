from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from derp_auth_lite._http import HTTPClient
from derp_auth_lite._jwks import JWKS, verify_jwt
from derp_auth_lite._jwks.base64url import decode
from derp_auth_lite.exceptions import AuthBackendError, InvalidTokenError

from .servers.loopback import LoopbackServer, Reply, json_reply
from .servers.signing import b64, ec_key, jwk, public_pem, rsa_key, sign

NOW = datetime(2030, 1, 1, tzinfo=UTC)
T = int(NOW.timestamp())


class Service:
    """Publishes ``keys``; breaks while ``down``."""

    def __init__(self):
        self.keys = []
        self.down = False
        self.now = NOW

    def __call__(self, call):
        return Reply(500) if self.down else json_reply({"keys": self.keys})

    def clock(self):
        return self.now

    def advance(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def server(service):
    with LoopbackServer(service) as server:
        yield server


@pytest.fixture
def jwks(service, server):
    return JWKS("/keys", HTTPClient(server.url, retries=0), clock=service.clock)


class TestKeys:
    def test_a_key_is_found_by_its_id_and_algorithm(self, jwks, service):
        """RSA and EC keys are given for the algorithm that they are for."""
        service.keys = [
            jwk(rsa_key(), "r"),
            jwk(ec_key(), "e"),
            jwk(ec_key("third", ec.SECP384R1), "e3"),
            jwk(ec_key("fifth", ec.SECP521R1), "e5"),
        ]

        assert jwks.key("r", "RS256").public_numbers() == rsa_key().public_key().public_numbers()
        assert jwks.key("e", "ES256").public_numbers() == ec_key().public_key().public_numbers()
        assert jwks.key("e3", "ES384") is not None
        assert jwks.key("e5", "ES512") is not None

    @pytest.mark.parametrize(
        ("kid", "alg"),
        [
            ("r", "RS512"),
            ("r", "PS256"),
            ("r", "ES256"),
            ("r", "HS256"),
            ("r", "none"),
            ("e", "RS256"),
            ("e", "ES384"),
            ("", "RS256"),
            ("' OR 1=1 --", "RS256"),
        ],
    )
    def test_a_key_is_for_one_algorithm_only(self, jwks, service, kid, alg):
        """No other algorithm gets the key, whatever a token says."""
        service.keys = [jwk(rsa_key(), "r"), jwk(ec_key(), "e")]

        assert jwks.key(kid, alg) is None

    def test_the_algorithm_of_a_silent_rsa_key_is_rs256(self, jwks, service):
        """A key without ``alg``, as Microsoft publishes them, is one for RS256."""
        service.keys = [jwk(rsa_key(), "r", alg=None)]

        assert jwks.key("r", "RS256") is not None
        assert jwks.key("r", "RS384") is None

    def test_only_allowed_algorithms_are_given(self, service, server):
        """A key for an algorithm that the backend does not take is no key."""
        service.keys = [jwk(rsa_key(), "r"), jwk(ec_key(), "e")]
        http = HTTPClient(server.url)
        jwks = JWKS("/keys", http, clock=service.clock, algorithms=["RS256", "HS256"])

        assert jwks.key("r", "RS256") is not None
        assert jwks.key("e", "ES256") is None

    @pytest.mark.parametrize(
        "entry",
        [
            {"kty": "oct", "k": b64(b"x" * 32), "kid": "k1", "alg": "HS256"},
            {"kty": "oct", "k": b64(b"x" * 32), "kid": "k1", "alg": "RS256"},
            {"kty": "OKP", "crv": "Ed25519", "x": b64(b"x" * 32), "kid": "k1"},
            jwk(rsa_key(), use="enc"),
            jwk(rsa_key(), key_ops=["encrypt"]),
            jwk(rsa_key(), alg="ES256"),
            jwk(rsa_key(), alg="HS256"),
            jwk(rsa_key(), alg="none"),
            jwk(rsa_key(), alg=["RS256"]),
            jwk(rsa_key(), kid=["k1"]),
            jwk(rsa_key(), n=b64(b"\xff" * 128)),
            jwk(rsa_key(), n=b64(b"\xff" * 2048)),
            jwk(rsa_key(), e=b64(b"\x02")),
            jwk(rsa_key(), n=""),
            jwk(rsa_key(), n=17),
            jwk(rsa_key(), n="a=="),
            jwk(rsa_key(), n=None),
            jwk(ec_key(), alg="ES384"),
            jwk(ec_key(), crv="P-384"),
            jwk(ec_key(), crv="secp256k1"),
            jwk(ec_key(), y=b64(b"\x01" * 32)),
            jwk(ec_key(), x=b64(b"\x01" * 31)),
            {},
            {"kty": ["RSA"]},
            "key",
            None,
            7,
        ],
    )
    def test_what_cannot_verify_signatures_is_passed_over(self, jwks, service, entry):
        """Such an entry is no key, and does not hide the good one beside it."""
        service.keys = [entry, jwk(rsa_key("second"), "good")]

        for alg in ("RS256", "ES256", "ES384"):
            assert jwks.key("k1", alg) is None
        assert jwks.key("good", "RS256") is not None

    def test_an_id_that_stands_twice_is_ambiguous(self, jwks, service):
        """Two keys with one id and one algorithm are no key."""
        service.keys = [jwk(rsa_key(), "r"), jwk(rsa_key("second"), "r")]

        assert jwks.key("r", "RS256") is None

    def test_a_token_without_kid_needs_a_set_with_one_key(self, jwks, service):
        """Without a key id the only key of the algorithm is meant, if there is only one."""
        service.keys = [jwk(rsa_key(), "r"), jwk(ec_key(), "e")]
        assert jwks.key(None, "RS256") is not None

        service.keys = [jwk(rsa_key(), "r"), jwk(rsa_key("second"), "s")]
        service.advance(600)
        assert jwks.key(None, "RS256") is None

    @pytest.mark.parametrize("alg", ["HS256", "none", "", "RS256 "])
    def test_an_algorithm_that_is_not_taken_costs_no_fetch(self, jwks, server, alg):
        """Nothing is asked about a token whose algorithm is refused anyway."""
        assert jwks.key("r", alg) is None
        assert server.calls == []

    def test_a_set_without_keys_has_none(self, service):
        """An empty set, as a project that signs with HS256 has it, is no failure."""
        with LoopbackServer(lambda _: json_reply({"keys": []})) as server:
            jwks = JWKS("/keys", HTTPClient(server.url), clock=service.clock)
            assert jwks.key("k1", "RS256") is None

    @pytest.mark.parametrize(
        "body", [{}, {"keys": None}, {"keys": "x"}, {"error": "oops"}], ids=str
    )
    def test_what_is_no_set_is_a_failure_and_known_keys_serve_on(self, service, body):
        """Else one strange answer would sign everybody out."""
        answers = [{"keys": [jwk(rsa_key(), "k1")]}, body]
        with LoopbackServer(lambda _: json_reply(answers[0])) as server:
            jwks = JWKS("/keys", HTTPClient(server.url), clock=service.clock)
            assert jwks.key("k1", "RS256") is not None
            del answers[0]
            service.advance(700)
            assert jwks.key("k1", "RS256") is not None
            with pytest.raises(AuthBackendError):
                jwks.key("k2", "RS256")


class TestFetching:
    def test_a_thousand_unknown_kids_cause_one_fetch(self, jwks, service, server):
        """Strangers cannot make the library hammer a provider: one fetch a minute."""
        service.keys = [jwk(rsa_key(), "r")]

        assert [jwks.key(f"kid-{n}", "RS256") for n in range(1000)] == [None] * 1000
        assert len(server.calls) == 1
        service.advance(59)
        assert jwks.key("kid-x", "RS256") is None
        assert len(server.calls) == 1
        service.advance(1)
        assert [jwks.key(f"kid-{n}", "RS256") for n in range(1000)] == [None] * 1000
        assert len(server.calls) == 2

    def test_unknown_kids_from_many_threads_cause_one_fetch(self, jwks, service, server):
        """The limit holds under concurrency."""
        service.keys = [jwk(rsa_key(), "r")]
        barrier = threading.Barrier(16)

        def ask(number):
            barrier.wait()
            for index in range(20):
                jwks.key(f"{number}-{index}", "RS256")

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(server.calls) == 1

    def test_known_keys_cost_no_fetch(self, jwks, service, server):
        """A known key is served from memory for ten minutes."""
        service.keys = [jwk(rsa_key(), "r")]
        for _ in range(100):
            jwks.key("r", "RS256")
        service.advance(599)
        jwks.key("r", "RS256")
        assert len(server.calls) == 1
        service.advance(1)
        jwks.key("r", "RS256")
        assert len(server.calls) == 2

    def test_a_rotated_key_is_found_after_a_minute_at_most(self, jwks, service):
        """A new key is fetched when a token names it, and a withdrawn one is gone."""
        service.keys = [jwk(rsa_key(), "old")]
        assert jwks.key("old", "RS256") is not None
        service.keys = [jwk(rsa_key("second"), "new")]
        service.advance(60)

        assert jwks.key("new", "RS256") is not None
        assert jwks.key("old", "RS256") is None

    def test_known_keys_outlive_a_failure_of_the_service(self, jwks, service, server):
        """While the service is down its known keys serve, and an unknown one is a backend error."""
        service.keys = [jwk(rsa_key(), "r")]
        jwks.key("r", "RS256")
        service.down = True
        service.advance(600)

        assert jwks.key("r", "RS256") is not None
        for _ in range(100):
            with pytest.raises(AuthBackendError):
                jwks.key("other", "RS256")
        assert len(server.calls) == 2

        service.advance(86_400)
        with pytest.raises(AuthBackendError):
            jwks.key("r", "RS256")

    def test_a_service_that_is_down_at_first_is_a_backend_error(self, jwks, service):
        """Without any keys nothing can be said about a token."""
        service.down = True

        with pytest.raises(AuthBackendError):
            jwks.key("r", "RS256")


def test_missing_cryptography_names_the_extra():
    """Without cryptography the error says what to install."""
    program = """
import sys
sys.modules["cryptography"] = None
from derp_auth_lite._clock import utc_now
from derp_auth_lite._http import HTTPClient
from derp_auth_lite._jwks import JWKS
from derp_auth_lite.exceptions import ConfigError
try:
    JWKS("/keys", HTTPClient("https://example.com"), clock=utc_now, extra="workos")
except ConfigError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert 'pip install "derp_auth_lite[workos]"' in done.stdout


CLAIMS = {
    "iss": "https://id.example.com",
    "aud": "app",
    "sub": "user-1",
    "exp": T + 300,
    "iat": T - 10,
}


class Keys:
    """Gives the one key, for its id and algorithm only."""

    def __init__(self, key=None, kid="k1", alg="RS256"):
        self.held = (kid, alg)
        self.public = key if key is not None else rsa_key().public_key()

    def key(self, kid, alg):
        return self.public if (kid, alg) == self.held else None


def verify(token, keys=None, **settings):
    settings = {
        "issuers": ["https://id.example.com"],
        "audience": "app",
        "clock": lambda: NOW,
        **settings,
    }
    return verify_jwt(token, keys=keys or Keys(), **settings)


def refused(token, keys=None, **settings):
    with pytest.raises(InvalidTokenError) as caught:
        verify(token, keys, **settings)
    return str(caught.value.__cause__)


class TestVerify:
    @pytest.mark.parametrize(
        ("alg", "key"),
        [
            ("RS256", rsa_key()),
            ("RS384", rsa_key()),
            ("RS512", rsa_key()),
            ("PS256", rsa_key()),
            ("ES256", ec_key()),
            ("ES384", ec_key("third", ec.SECP384R1)),
            ("ES512", ec_key("fifth", ec.SECP521R1)),
        ],
    )
    def test_a_good_token_gives_its_claims(self, alg, key):
        """A token signed with the right key is believed."""
        token = sign(CLAIMS, key, alg=alg)

        assert verify(token, Keys(key.public_key(), alg=alg)) == CLAIMS

    @pytest.mark.parametrize("typ", ["JWT", "at+jwt", "application/jwt", None, 7])
    def test_the_type_is_not_judged(self, typ):
        """Providers write what they like into ``typ``."""
        assert verify(sign(CLAIMS, rsa_key(), header={"typ": typ})) == CLAIMS

    def test_a_list_of_audiences_may_hold_ours(self):
        """``aud`` may be a list."""
        claims = {**CLAIMS, "aud": ["other", "app"]}

        assert verify(sign(claims, rsa_key())) == claims

    def test_an_audience_of_none_is_not_looked_at(self):
        """A service that sets no ``aud`` is verified without."""
        claims = {name: value for name, value in CLAIMS.items() if name != "aud"}

        assert verify(sign(claims, rsa_key()), audience=None) == claims

    def test_an_hmac_key_verifies_hs256_where_that_is_allowed(self):
        """A backend with a shared secret brings its own source of keys."""
        secret = b"s" * 32
        keys = Keys(secret, alg="HS256")
        token = sign(CLAIMS, secret, alg="HS256")

        assert verify(token, keys, algorithms=["HS256"]) == CLAIMS
        assert "not allowed" in refused(token, keys)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"iss": "https://evil.example"}, "issuer"),
            ({"iss": "https://id.example.com/"}, "issuer"),
            ({"iss": "https://ID.example.com"}, "issuer"),
            ({"iss": None}, "issuer"),
            ({"iss": ["https://id.example.com"]}, "issuer"),
            ({"aud": "other"}, "audience"),
            ({"aud": "app "}, "audience"),
            ({"aud": ["other"]}, "audience"),
            ({"aud": []}, "audience"),
            ({"aud": None}, "audience"),
            ({"aud": {"app": 1}}, "audience"),
            ({"sub": ""}, "sub"),
            ({"sub": None}, "sub"),
            ({"sub": 7}, "sub"),
            ({"exp": None}, "number"),
            ({"exp": str(T + 300)}, "number"),
            ({"exp": True}, "number"),
            ({"exp": -1}, "number"),
            ({"exp": 10**400}, "number"),
            ({"exp": 253_402_300_800}, "number"),
            ({"exp": [T + 300]}, "number"),
            ({"nbf": "soon"}, "number"),
            ({"iat": {}}, "number"),
            ({"nbf": T + 61}, "not valid yet"),
            ({"iat": T + 61}, "not valid yet"),
            ({"exp": T - 60}, "expired"),
        ],
        ids=str,
    )
    def test_a_wrong_claim_is_refused(self, change, reason):
        """Each claim is held against what it must be."""
        assert reason in refused(sign({**CLAIMS, **change}, rsa_key()))

    @pytest.mark.parametrize("missing", ["iss", "aud", "sub", "exp", "nonce"])
    def test_a_missing_claim_is_refused(self, missing):
        """Issuer, audience, subject, end, and what a caller requires, must be there."""
        claims = {name: value for name, value in CLAIMS.items() if name != missing}

        refused(sign(claims, rsa_key()), required=("sub", "nonce"))

    @pytest.mark.parametrize(
        ("exp", "leeway", "good"),
        [
            (T + 1, 0, True),
            (T, 0, False),
            (T - 59, 60, True),
            (T - 60, 60, False),
        ],
    )
    def test_the_edges_of_exp(self, exp, leeway, good):
        """A token ends at the second of its ``exp`` plus the leeway (RFC 7519, 4.1.4)."""
        token = sign({**CLAIMS, "exp": exp}, rsa_key())
        if good:
            assert verify(token, leeway=leeway)
        else:
            assert "expired" in refused(token, leeway=leeway)

    @pytest.mark.parametrize("claim", ["nbf", "iat"])
    @pytest.mark.parametrize(("moment", "good"), [(T + 60, True), (T + 61, False)])
    def test_the_edges_of_nbf_and_iat(self, claim, moment, good):
        """A token from the future is refused beyond the leeway."""
        token = sign({**CLAIMS, claim: moment}, rsa_key())
        if good:
            assert verify(token)
        else:
            assert "not valid yet" in refused(token)

    def test_one_string_of_issuer_is_not_a_set_of_substrings(self):
        """A caller who passes a plain string means that string."""
        token = sign({**CLAIMS, "iss": "example"}, rsa_key())

        assert "issuer" in refused(token, issuers="https://id.example.com")
        assert verify(sign(CLAIMS, rsa_key()), issuers="https://id.example.com")


class TestForgery:
    @pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE"])
    def test_alg_none_is_refused(self, alg):
        """A token without a signature is refused, even where a table allowed it by mistake."""
        head, payload, _ = sign(CLAIMS, rsa_key(), header={"alg": alg}).split(".")

        assert "not allowed" in refused(f"{head}.{payload}.", algorithms=["none", "RS256", alg])

    def test_a_public_key_is_no_hmac_secret(self, jwks, service):
        """A token signed with HS256 and the public key is refused (key confusion)."""
        service.keys = [jwk(rsa_key())]
        token = sign(CLAIMS, public_pem(rsa_key()), alg="HS256")

        assert "not allowed" in refused(token, jwks)
        assert "no such key" in refused(token, jwks, algorithms=["RS256", "HS256"])

    def test_another_key_is_refused(self):
        """A signature by a key that is not the service's is wrong."""
        assert "signature" in refused(sign(CLAIMS, rsa_key("mallory")))

    @pytest.mark.parametrize("part", [0, 1, 2])
    def test_a_changed_part_is_refused(self, part):
        """Header, claims and signature belong together."""
        ours = sign(CLAIMS, rsa_key()).split(".")
        other = sign({**CLAIMS, "sub": "root"}, rsa_key(), header={"x": 1}).split(".")
        ours[part] = other[part]

        assert "signature" in refused(".".join(ours))

    @pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c"])
    def test_keys_in_the_header_are_ignored_and_nothing_is_fetched(self, name):
        """A token cannot bring its own key (ASVS 9.1.3)."""
        with LoopbackServer(lambda _: json_reply({"keys": [jwk(rsa_key("mallory"))]})) as server:
            value = jwk(rsa_key("mallory")) if name == "jwk" else server.url
            token = sign(CLAIMS, rsa_key("mallory"), header={name: value})

            assert "signature" in refused(token)
            assert server.calls == []

    @pytest.mark.parametrize(
        "header",
        [
            {"crit": ["exp"]},
            {"crit": []},
            {"b64": False, "crit": ["b64"]},
            {"b64": True},
            {"kid": 7},
            {"kid": ["k1"]},
            {"kid": "../../dev/null"},
            {"kid": "' OR 1=1 --"},
            {"alg": 7},
            {"alg": ["RS256"]},
            {"alg": None},
            {"alg": "RS256 "},
            {"alg": "rs256"},
        ],
        ids=str,
    )
    def test_a_strange_header_is_refused(self, header):
        """Critical extensions, and ids or algorithms of another shape, are refused."""
        refused(sign(CLAIMS, rsa_key(), header=header))

    @pytest.mark.parametrize(
        "mangle",
        [
            lambda token: token + "=",
            lambda token: token.replace(".", "=.", 1),
            lambda token: token + "\n",
            lambda token: " " + token,
            lambda token: token.replace(".", "..", 1),
            lambda token: token + ".x",
            lambda token: token.rsplit(".", 1)[0],
            lambda token: token.rsplit(".", 1)[0] + ".",
            lambda token: token[:-4] + "+/+/",
            lambda token: token[:-1] + chr(ord(token[-1]) + 1),
            lambda token: token.replace("e", "\u0435", 1),
            lambda token: token + "\ud800",
            lambda token: "",
            lambda token: "..",
            lambda token: "a" * 16_385,
            lambda token: b64(b"[]") + token[token.index(".") :],
            lambda token: b64(b"{") + token[token.index(".") :],
            lambda token: b64(b"\xff") + token[token.index(".") :],
        ],
    )
    def test_a_malformed_token_is_refused(self, mangle):
        """Padding, stray characters, missing and extra parts are refused before any decoding."""
        refused(mangle(sign(CLAIMS, rsa_key())))

    def test_a_very_long_token_is_refused(self):
        """A token of more than 16 KiB is refused, were it signed."""
        assert "three parts" in refused(sign({**CLAIMS, "x": "a" * 16_384}, rsa_key()))

    @pytest.mark.parametrize(
        "payload", [b"[]", b"null", b"{", b"\xff", b'{"exp": NaN}', b'{"sub": "\\ud800"}']
    )
    def test_signed_rubbish_is_refused(self, payload):
        """A right signature over something that is no JSON object helps nothing."""
        refused(sign(payload, rsa_key()))

    @given(st.text(max_size=60) | st.text(alphabet="eyJ.-_A", max_size=60))
    def test_no_text_raises_anything_else(self, token):
        """Any text is refused with InvalidTokenError."""
        refused(token)

    def test_the_log_says_why_and_shows_no_token(self, caplog):
        """The reason of a refusal is in the log; the token is not."""
        token = sign({**CLAIMS, "aud": "other"}, rsa_key())
        with caplog.at_level(logging.DEBUG, "derp_auth_lite"):
            refused(token, name="Example")

        assert "Example: a token was refused: the audience is another" in caplog.text
        assert token.split(".")[2] not in caplog.text
        assert json.dumps(CLAIMS["sub"]) not in caplog.text


class TestBase64URL:
    @given(st.binary(max_size=40))
    def test_what_was_encoded_is_decoded(self, data):
        """Canonical base64url without padding is read back."""
        assert decode(b64(data)) == data

    @pytest.mark.parametrize("text", ["YQ==", "YR", "Y", "Y Q", "YQ\n", "+A", "/A", "é", 7, None])
    def test_anything_else_is_refused(self, text):
        """Padding, spare bits, the other alphabet and other types are refused."""
        with pytest.raises(ValueError, match="base64url"):
            decode(text)
