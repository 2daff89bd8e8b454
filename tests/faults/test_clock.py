"""Clocks that are set: a second, an hour, a year, forwards and back."""

from __future__ import annotations

import random
import time

from derp_auth_lite.exceptions import AuthError

from ..support import PASSWORD, Request
from . import backend_of, invariants, rounds
from .scenarios import NEW_PASSWORD, URL

JUMPS = [1, -1, 3600, -3600, 31_536_000, -31_536_000]


class Consumed:
    """Things that an account used up, each with a way to try it again."""

    def __init__(self, auth, number):
        self.auth, self.number = auth, number
        self.tries = {}
        self._links()
        self._sessions()
        self._states()

    def alive(self):
        """Return the names of those that live again."""
        return [name for name, attempt in self.tries.items() if attempt()]

    def _links(self):
        auth = self.auth
        auth.sign_up(email=self._email("new"), password=PASSWORD, confirmation_url=URL)
        self._spend("confirmation", auth.confirm_email, self._mailed())
        auth.sign_in_with_magic_link(email=self._email("link"), magic_link_url=URL)
        self._spend("magic link", auth.verify_magic_link, self._mailed())
        user = self._user("reset")
        links = []
        for _ in range(2):
            auth.request_password_recovery(email=user.email, recovery_url=URL)
            links.append(self._mailed())
        self._spend("recovery", auth.reset_password, links[0], NEW_PASSWORD)
        self._add("voided recovery", auth.reset_password, links[1], PASSWORD)
        auth.request_email_change(user_id=user.id, new_email=self._email("moved"), confirm_url=URL)
        self._spend("email change", auth.confirm_email_change, self._mailed())

    def _sessions(self):
        auth = self.auth
        ends = {
            "signed out": lambda user, session: auth.sign_out(session.session_id),
            "signed out everywhere": lambda user, session: auth.sign_out_all(user.id),
            "disabled": lambda user, session: auth.update_user(user_id=user.id, is_active=False),
            "deleted": lambda user, session: auth.delete_user(user.id),
            "password changed": lambda user, session: auth.change_password(
                user_id=user.id, current_password=PASSWORD, new_password=NEW_PASSWORD
            ),
            "token reused": self._reuse,
        }
        for name, end in ends.items():
            user = self._user(name.replace(" ", "-"))
            tokens = auth.sign_in_with_password(user.email, PASSWORD).tokens
            session = auth.authenticate(Request(tokens.access_token))
            later = auth.refresh_token(tokens.refresh_token)
            self.first = tokens.refresh_token
            end(user, session)
            for which, pair in (("first", tokens), ("second", later)):
                self._add(f"{name}: {which} refresh", auth.refresh_token, pair.refresh_token)
                self.tries[f"{name}: {which} access"] = self._enters(pair.access_token)

    def _reuse(self, user, session):
        """Present a refresh token long after its successor was: that ends the session."""
        self.auth._clock.advance(minutes=1)
        assert not self._works(self.auth.refresh_token, self.first)

    def _states(self):
        flows = self.auth._flows
        state, binding = flows.begin("google", redirect_uri=None, user_id=None)
        about = {"provider": "google", "binding": binding, "user_id": None}
        flows.end(state, **about)
        self.tries["OAuth state"] = lambda: self._works(flows.end, state, **about)

    def _user(self, name):
        return self.auth.create_user(email=self._email(name), password=PASSWORD, confirmed=True)

    def _email(self, name):
        return f"{name}{self.number}@example.com"

    def _mailed(self):
        self.auth.deliver_mail()
        return self.auth._email_client.sent[-1].token

    def _spend(self, name, call, *arguments):
        call(*arguments)
        self._add(name, call, *arguments)

    def _add(self, name, call, *arguments):
        self.tries[name] = lambda: self._works(call, *arguments)

    def _enters(self, access_token):
        return lambda: self.auth.authenticate(Request(access_token)) is not None

    @staticmethod
    def _works(call, *arguments, **keywords):
        try:
            call(*arguments, **keywords)
        except AuthError:
            return False
        return True


def test_nothing_that_was_consumed_lives_again_however_the_clock_is_set(
    make_auth, database, clock, report
):
    count, rng = rounds(2, 200), random.Random(1)
    auth = make_auth(enable_confirmation=True, enable_magic_link=True)
    wrong, worst = [], 0.0
    for number in range(count):
        consumed = Consumed(auth, number)
        assert len(consumed.tries) > 20
        wrong += consumed.alive()
        for seconds in rng.sample(JUMPS, len(JUMPS)):
            clock.advance(seconds=seconds)
            began = time.perf_counter()
            wrong += [f"{name} after {seconds} s" for name in consumed.alive()]
            worst = max(worst, (time.perf_counter() - began) / len(consumed.tries))
    invariants.check(auth)
    report("clock set by 1 s, 1 h, 1 year", backend_of(database), count * len(JUMPS), worst, wrong)
