"""Providers that answer with errors, slowly, too much, or not at all."""

from __future__ import annotations

import pytest

from ..servers.faults import FAULTS
from ..test_providers_faults import EVERYWHERE, NAMES, PLACES, SECONDS, sign_in_while_broken
from . import FULL

QUICK = ["503", "no answer", "slow drip of the body", "HTML", "truncated JSON", "10 MB", "redirect"]


@pytest.mark.parametrize("fault", FAULTS if FULL else QUICK)
def test_a_broken_provider_is_a_typed_error_in_time_and_no_code_is_sent_twice(fault, report):
    """A code, like a refresh token, is spent by being sent: it is never tried again blindly."""
    places = PLACES if FULL and fault in EVERYWHERE else PLACES[:2] + PLACES[-3:-2]
    wrong, worst = [], 0.0
    for place in places:
        took, sent = sign_in_while_broken(*place, fault)
        worst = max(worst, took)
        name = NAMES[PLACES.index(place)]
        wrong += [f"{name}: the code was sent {sent} times"] if sent > 1 else []
        wrong += [f"{name}: {took:.1f} s"] if took > SECONDS + 1 else []
    report(
        "provider 5xx, slow, HTML, huge, redirect",
        "google, github, oidc",
        len(places),
        worst,
        wrong,
    )
