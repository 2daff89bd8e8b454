"""What was verified a moment ago, and for how long that is kept in mind."""

from __future__ import annotations

import pytest

from derp_auth_lite._recent import Recent


def test_what_was_added_is_there():
    recent = Recent(4)
    assert recent.get(b"a") is None
    recent.add(b"a", 1)
    assert recent.get(b"a") == 1


@pytest.mark.parametrize("size", [2, 4, 100])
def test_never_more_are_kept_than_was_said(size):
    recent = Recent(size)
    for number in range(1000):
        recent.add(str(number).encode(), number)
    kept = [number for number in range(1000) if recent._young.get(str(number).encode()) == number
            or recent._old.get(str(number).encode()) == number]  # fmt: skip
    assert len(kept) <= size
    assert recent.get(b"999") == 999


def test_what_is_used_is_kept_longer_than_what_is_not():
    recent = Recent(4)
    recent.add(b"used", 0)
    recent.add(b"unused", 0)
    for number in range(20):
        assert recent.get(b"used") == 0
        recent.add(str(number).encode(), number)
    assert recent.get(b"unused") is None


def test_a_size_of_nothing_keeps_nothing():
    recent = Recent(0)
    recent.add(b"a", 1)
    assert recent.get(b"a") is None
