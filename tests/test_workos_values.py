"""What is packed for WorkOS comes back as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derp_auth_lite._workos import links
from derp_auth_lite._workos.metadata import pack, tombstones, unpack
from derp_auth_lite.exceptions import InvalidProfileError, InvalidTokenError

KEYS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS
VALUES = st.recursive(
    LEAVES,
    lambda it: st.lists(it, max_size=3) | st.dictionaries(TEXTS, it, max_size=3),
    max_leaves=6,
)
PRINTABLE = st.text(min_size=1, max_size=60).filter(str.isprintable)


@given(st.dictionaries(KEYS, VALUES, max_size=10))
def test_metadata_comes_back_as_it_was(metadata):
    """Any JSON object: as pairs of ASCII text there, as itself here."""
    try:
        pairs = pack(metadata)
    except InvalidProfileError:
        assert any(len(repr(value)) > 90 for value in metadata.values())
        return
    assert all(text.isascii() and 0 < len(text) <= 600 for text in pairs.values())
    assert unpack(pairs) == metadata


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.dictionaries(KEYS, VALUES, max_size=5))
def test_a_service_that_merges_ends_with_what_was_wanted(before, after):
    try:
        stored, wanted = pack(before), pack(after)
    except InvalidProfileError:
        return
    merged = {**stored, **wanted}
    assert unpack({**merged, **tombstones(wanted, merged)}) == after


@pytest.mark.parametrize("stored", [None, [], "x", 5], ids=str)
def test_what_is_no_metadata_is_none(stored):
    assert unpack(stored) == {}


@given(st.sampled_from([links.ENTER, links.CONFIRM]), PRINTABLE, PRINTABLE)
def test_a_token_of_a_link_carries_both(kind, whose, code):
    token = links.join(kind, whose, code)
    assert token.isascii()
    assert "=" not in token
    assert links.split(kind, token) == (whose, code)


@given(st.text(max_size=80) | st.binary(max_size=80).map(repr) | st.none() | st.integers())
def test_what_is_no_token_of_a_link_is_refused(token):
    with pytest.raises(InvalidTokenError):
        links.split(links.ENTER, token)
