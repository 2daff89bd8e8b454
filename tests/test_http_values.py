from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derp_auth_lite._http import (
    HTTPClient,
    parse_json,
    quote_id,
    require_https,
)
from derp_auth_lite.exceptions import (
    ConfigError,
    UserNotFoundError,
)


class TestQuoteId:
    @pytest.mark.parametrize(
        ("value", "segment"),
        [
            ("user_01H", "user_01H"),
            ("a b", "a%20b"),
            ("a?b#c", "a%3Fb%23c"),
            ("%2e%2e", "%252e%252e"),
            ("é", "%C3%A9"),
            ("...", "..."),
            ("a;b&c=d", "a%3Bb%26c%3Dd"),
        ],
    )
    def test_an_id_is_one_segment(self, value, segment):
        """What has a meaning in a URL is quoted."""
        assert quote_id(value) == segment

    @pytest.mark.parametrize(
        "value",
        ["", ".", "..", "../x", "a/b", "..\\x", "a\nb", "a\x00", "\x7f", "\u2028", "x" * 257],
    )
    def test_what_no_path_can_carry_is_refused(self, value):
        """Such an id is an error of the caller's choice, before anything is sent."""
        with pytest.raises(ValueError, match="not an id"):
            quote_id(value)
        with pytest.raises(UserNotFoundError):
            quote_id(value, UserNotFoundError)

    @given(st.text(max_size=20))
    def test_a_quoted_id_arrives_as_that_id(self, value):
        """The target on the wire is the base, a slash, and the id, quoted."""
        try:
            segment = quote_id(value)
        except ValueError:
            return
        prepared = HTTPClient("http://h/v1")._prepare(
            "GET", f"/users/{segment}", params=None, json=None, form=None, headers=None
        )

        assert prepared.path_url == f"/v1/users/{segment}"


class TestRequireHTTPS:
    @pytest.mark.parametrize(
        "url",
        [
            "https://id.example.com",
            "https://id.example.com:8443/realms/x",
            "http://127.0.0.1:8080",
            "http://[::1]:1",
            "http://localhost:3000/x",
            "http://id.localhost",
        ],
    )
    def test_https_and_this_machine_are_taken(self, url):
        """TLS may be anywhere, plain http on the loopback interface only."""
        assert require_https(url, "issuer") == url

    @pytest.mark.parametrize(
        "url",
        [
            "http://id.example.com",
            "http://10.0.0.1",
            "http://127.0.0.1.evil.example",
            "http://localhost.evil.example",
            "https://u:p@id.example.com",
            "https://id.example.com/#x",
            "https://",
            "https:///path",
            "ftp://127.0.0.1",
            "javascript:alert(1)",
            "id.example.com",
            "https://[::1",
            "https://id.example.com:99999",
            "https://id.example.com/\n",
            " https://id.example.com",
            "",
        ],
    )
    def test_anything_else_is_a_configuration_error(self, url):
        """Other URLs are refused, and the message names the setting."""
        with pytest.raises(ConfigError, match="issuer must be an https URL"):
            require_https(url, "issuer")


class TestParseJSON:
    def test_json_is_parsed(self):
        """Plain JSON is read, with or without a byte order mark."""
        assert parse_json(b'{"a": [1, "\\u00e9", "\\ud83d\\ude00"]}') == {"a": [1, "é", "😀"]}
        assert parse_json(b"\xef\xbb\xbf[]") == []

    @pytest.mark.parametrize(
        "body",
        [
            b"NaN",
            b"-Infinity",
            b"\xff",
            b'"\\ud800"',
            b'{"\\udfff": 1}',
            b"[" * 100_000,
            b"1" * 5000,
            b"{",
            b"",
            b"[1] x",
        ],
    )
    def test_what_json_does_not_allow_is_refused(self, body):
        """Every fault is a ValueError."""
        with pytest.raises(ValueError, match=r".+"):
            parse_json(body)

    @given(st.binary(max_size=50))
    def test_no_bytes_raise_anything_else(self, body):
        """Any bytes are JSON or a ValueError."""
        try:
            parse_json(body)
        except ValueError:
            pass
