"""A fault at every call to database, KV store and mail, once and for good."""

from __future__ import annotations

import time

import pytest

from derp_auth_lite.config import ThrottleConfig
from derp_auth_lite.exceptions import AuthError

from . import PLENTY, invariants
from .injection import Faults
from .scenarios import ALL, URL, SignUp


@pytest.fixture
def whole(make_auth):
    """A client on which everything is on, with limits that count and never close."""
    return make_auth(
        throttle=ThrottleConfig(**PLENTY), enable_confirmation=True, enable_magic_link=True
    )


def points(faults, scenario):
    """Return how many points the act passes when nothing fails."""
    with faults.at(None):
        scenario.act()
    assert scenario.is_done()
    return faults.passed


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_a_fault_at_any_call_is_a_typed_error_and_leaves_nothing_half_done(
    whole, kind, for_good, report
):
    faults = Faults(whole)
    count = points(faults, kind(whole))
    assert count > 0
    worst = 0.0
    for point in range(count):
        scenario = kind(whole)
        returned = False
        began = time.perf_counter()
        with faults.at(point, for_good=for_good):
            try:
                scenario.act()
                returned = True
            except AuthError:
                pass
        worst = max(worst, time.perf_counter() - began)
        done = scenario.is_done()
        assert done or not returned, f"point {point}: what was acknowledged was not done"
        if not done:
            scenario.again()
            assert scenario.is_done(), f"point {point}: it cannot be done any more"
    invariants.check(whole)
    mode = "for good" if for_good else "once"
    report(f"an exception at every call, {mode}", whole._db.dialect, count, worst)


def test_the_injection_reaches_database_kv_store_and_mail(whole):
    faults = Faults(whole)
    scenario = SignUp(whole)
    with faults.at(None):
        scenario.act()
        signing_up = faults.passed
        whole.deliver_mail()
        assert faults.passed > signing_up
        mailing = faults.passed
        whole.request_password_recovery(email=scenario.email, recovery_url=URL)
        assert faults.passed > mailing
    with faults.at(0, for_good=True), pytest.raises(AuthError):
        whole.sign_up(email="x@example.com", password="a long password", confirmation_url=URL)
    assert faults.failed >= 1
