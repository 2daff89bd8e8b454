"""Keys are derived by the book, serve one purpose each, and show nothing of the secret."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derp_auth_lite._keys import KeyRing, hkdf_sha256

VECTORS = Path(__file__).parent / "vectors" / "wycheproof"
SECRET = "the current secret, random and 32 bytes or longer"
OLD = "the secret before it, as long and as random as that"


def wycheproof(name: str):
    """Return the groups of a file of vectors."""
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))["testGroups"]


class TestHKDF:
    @pytest.mark.parametrize(
        ("secret", "salt", "info", "length", "expected"),
        [
            pytest.param(
                "0b" * 22,
                "000102030405060708090a0b0c",
                "f0f1f2f3f4f5f6f7f8f9",
                42,
                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
                id="A.1",
            ),
            pytest.param(
                bytes(range(0x50)).hex(),
                bytes(range(0x60, 0xB0)).hex(),
                bytes(range(0xB0, 0x100)).hex(),
                82,
                "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
                "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
                "cc30c58179ec3e87c14c01d5c1f3434f1d87",
                id="A.2",
            ),
            pytest.param(
                "0b" * 22,
                "",
                "",
                42,
                "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
                id="A.3",
            ),
        ],
    )
    def test_rfc_5869_appendix_a(self, secret, salt, info, length, expected):
        derived = hkdf_sha256(
            bytes.fromhex(secret),
            salt=bytes.fromhex(salt),
            info=bytes.fromhex(info),
            length=length,
        )
        assert derived.hex() == expected

    def test_wycheproof_hkdf_sha256(self):
        for group in wycheproof("hkdf_sha256_test.json"):
            for vector in group["tests"]:
                given = {name: bytes.fromhex(vector[name]) for name in ("ikm", "salt", "info")}
                arguments = {"salt": given["salt"], "info": given["info"], "length": vector["size"]}
                if vector["result"] == "valid":
                    assert hkdf_sha256(given["ikm"], **arguments).hex() == vector["okm"]
                else:
                    with pytest.raises(ValueError, match="8160"):
                        hkdf_sha256(given["ikm"], **arguments)


class TestMac:
    def test_wycheproof_hmac_sha256(self):
        """Every valid tag is accepted, no other one is, and none that was cut short."""
        for group in wycheproof("hmac_sha256_test.json"):
            for vector in group["tests"]:
                ring = KeyRing(SECRET)
                ring._keys[ring.kid, "test"] = bytes.fromhex(vector["key"])
                message, tag = bytes.fromhex(vector["msg"]), bytes.fromhex(vector["tag"])
                is_whole_and_valid = group["tagSize"] == 256 and vector["result"] == "valid"
                assert ring.check("test", message, tag) is is_whole_and_valid, vector["tcId"]
                assert (ring.mac("test", message) == tag) is is_whole_and_valid

    @given(st.text(), st.binary())
    def test_a_mac_is_32_bytes_and_checks(self, purpose, message):
        ring = KeyRing(SECRET)
        mac = ring.mac(purpose, message)
        assert len(mac) == 32
        assert ring.check(purpose, message, mac)

    @given(st.binary(), st.integers(0, 255))
    def test_a_mac_with_one_bit_flipped_does_not_check(self, message, bit):
        ring = KeyRing(SECRET)
        number = int.from_bytes(ring.mac("cursor", message), "big") ^ (1 << bit)
        assert not ring.check("cursor", message, number.to_bytes(32, "big"))

    @pytest.mark.parametrize("mac", [b"", b"\0" * 31, b"\0" * 33, b"\xff" * 64])
    def test_a_mac_of_another_length_does_not_check(self, mac):
        assert not KeyRing(SECRET).check("cursor", b"message", mac)

    def test_a_mac_for_one_purpose_is_worth_nothing_for_another(self):
        ring = KeyRing(SECRET)
        purposes = ["refresh token", "one-time token", "cursor", "email address", "session cookie"]
        macs = {purpose: ring.mac(purpose, b"message") for purpose in purposes}
        assert len(set(macs.values())) == len(purposes)
        for purpose in purposes:
            checks = [ring.check(purpose, b"message", mac) for mac in macs.values()]
            assert checks.count(True) == 1

    def test_text_stands_for_its_utf_8_bytes(self):
        assert KeyRing("g" * 31 + "é").kid == KeyRing(("g" * 31 + "é").encode()).kid


class TestRotation:
    def test_a_previous_secret_still_checks_what_it_made_and_makes_nothing_by_default(self):
        old, ring = KeyRing(OLD), KeyRing(SECRET, [OLD])
        mac = old.mac("refresh token", b"message")
        assert ring.check("refresh token", b"message", mac, kid=old.kid)
        assert not ring.check("refresh token", b"message", mac)
        assert ring.mac("refresh token", b"message") == KeyRing(SECRET).mac(
            "refresh token", b"message"
        )

    def test_the_current_kid_comes_first_and_a_secret_given_twice_counts_once(self):
        ring = KeyRing(SECRET, [OLD, SECRET, OLD])
        assert ring.kids == (ring.kid, KeyRing(OLD).kid)

    @pytest.mark.parametrize("kid", ["", "00000000", "' OR 1", "../../etc/passwd", "\0"])
    def test_an_unknown_kid_checks_nothing_and_makes_nothing(self, kid):
        ring = KeyRing(SECRET)
        assert not ring.check("cursor", b"message", ring.mac("cursor", b"message"), kid=kid)
        with pytest.raises(KeyError):
            ring.mac("cursor", b"message", kid=kid)


class TestSecrecy:
    def test_a_kid_is_eight_hex_characters_that_depend_on_nothing_but_the_secret(self):
        kid = KeyRing(SECRET, [OLD]).kid
        assert len(kid) == 8
        assert set(kid) <= set("0123456789abcdef")
        assert kid == KeyRing(SECRET).kid != KeyRing(OLD).kid

    def test_a_kid_is_no_piece_of_a_key_that_is_used(self):
        ring = KeyRing(SECRET)
        ring.mac("cursor", b"message")
        assert not any(key.hex().startswith(ring.kid) for key in ring._keys.values())

    def test_repr_shows_names_and_no_secret(self):
        shown = repr(KeyRing(SECRET, [OLD]))
        assert SECRET not in shown
        assert OLD not in shown
        assert KeyRing(OLD).kid in shown

    @pytest.mark.parametrize("secret", ["", b""])
    def test_an_empty_secret_is_refused(self, secret):
        with pytest.raises(ValueError, match="empty"):
            KeyRing(SECRET, [secret])


def test_threads_that_ask_at_once_get_the_same_keys():
    ring, found, start = KeyRing(SECRET), [], threading.Barrier(8)

    def ask():
        start.wait()
        found.append(tuple(ring.mac(f"purpose {n}", b"message") for n in range(50)))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
