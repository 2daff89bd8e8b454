"""Project Wycheproof's tokens, read by what reads ours: no vector marked invalid is accepted."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import jwt as pyjwt
import pytest

from derp_auth_lite.config import JWTConfig
from derp_auth_lite.exceptions import ConfigError
from derp_auth_lite.jwt import AccessTokens, _signed_payload

VECTORS = Path(__file__).parent / "vectors" / "wycheproof"
HMACS = {"HS256", "HS384", "HS512"}

# These are, byte for byte, the valid vector 357: their padding was lost when they were written down
# (https://github.com/C2SP/wycheproof/issues/236).
MISLABELLED = {("base64", 367), ("base64", 370)}


def groups(name: str):
    """Return (group, its keys as JWKs) of a file of vectors."""
    for group in json.loads((VECTORS / name).read_text(encoding="utf-8"))["testGroups"]:
        key = group.get("private") or group["public"]
        yield group, key.get("keys", [key])


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def hmac_cases(name: str):
    """Return those vectors of a file whose keys are all keys for HMAC.

    Our kids are derived from the keys, so that no two can have one: that vector is not
    here.
    """
    return [
        pytest.param(group, keys, vector, id=f"{vector['tcId']} {vector['comment']}")
        for group, keys in groups(name)
        if all(key["kty"] == "oct" and key.get("alg") in HMACS for key in keys)
        for vector in group["tests"]
        if vector["comment"] != "rejectsDuplicateKid"
    ]


def accepts(keys, headers, jws) -> bool:
    """Tell whether our reader accepts *jws* when each of *headers* has the key that it names."""
    secrets = {key["kid"]: decode(key["k"]) for key in keys}
    known = {header.encode(): secrets[json.loads(decode(header))["kid"]] for header in headers}
    algorithm = pyjwt.get_algorithm_by_name(keys[0]["alg"])
    try:
        _signed_payload(jws.encode("ascii"), known, algorithm)
    except ValueError:
        return False
    return True


def headers_of(group) -> set[str]:
    """Return the encoded headers of a group's vectors that are well-formed valid tokens."""
    return {
        vector["jws"].split(".")[0]
        for vector in group["tests"]
        if vector["result"] == "valid" and "?" not in vector["jws"]
    }


@pytest.mark.parametrize(("group", "keys", "vector"), hmac_cases("json_web_signature_test.json"))
def test_hmac_signatures(group, keys, vector):
    """A valid token is accepted when its header is one that is known, an invalid one never."""
    accepted = accepts(keys, headers_of(group), vector["jws"])
    if (group["comment"], vector["tcId"]) in MISLABELLED:
        assert accepted
    elif "?" in vector["jws"]:
        assert not accepted  # valid by Wycheproof's leave, not by RFC 7515's
    else:
        assert accepted is (vector["result"] == "valid")


@pytest.mark.parametrize(("group", "keys", "vector"), hmac_cases("json_web_key_test.json"))
def test_hmac_keys(group, keys, vector):
    """Keys that are too short never become ours; others verify what they signed."""
    if len(decode(keys[0]["k"])) < 32:
        with pytest.raises(ConfigError, match="32 bytes"):
            JWTConfig(secret="x" * len(decode(keys[0]["k"])))
        return
    assert accepts(keys, headers_of(group), vector["jws"]) is (vector["result"] == "valid")


@pytest.mark.parametrize("algorithm", sorted(HMACS))
@pytest.mark.parametrize("name", ["json_web_signature_test.json", "json_web_key_test.json"])
def test_a_public_key_verifies_nothing_as_an_hmac_key(name, algorithm):
    """Key confusion: a public key, and each number in it, is tried as the secret."""
    hmac = pyjwt.get_algorithm_by_name(algorithm)
    tried = 0
    for group, keys in groups(name):
        public = [key for key in keys if key["kty"] != "oct"]
        numbers = [decode(key[part]) for key in public for part in ("n", "x", "y") if part in key]
        for vector in group["tests"]:
            header = vector["jws"].split(".")[0].encode()
            for secret in [*numbers, *(json.dumps(key).encode() for key in public)]:
                tried += 1
                with pytest.raises(ValueError, match=r"signature|header|unpack"):
                    _signed_payload(vector["jws"].encode(), {header: secret}, hmac)
    assert tried > 20


@pytest.mark.parametrize("algorithm", sorted(HMACS))
@pytest.mark.parametrize("name", ["json_web_signature_test.json", "json_web_key_test.json"])
def test_no_vector_is_a_token_of_ours(name, algorithm):
    secret = "a secret that no vector knows, long enough to sign with"
    access = AccessTokens(JWTConfig(secret=secret, algorithm=algorithm))
    for group, _ in groups(name):
        for vector in group["tests"]:
            assert access.verify(vector["jws"]) is None
