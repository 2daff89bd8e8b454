"""What is done while faults are injected, and what must be so afterwards.

A scenario prepares an account of its own, does one act, and is then asked what came of it: the act
was done as a whole or not at all, and one that returned was done.
"""

from __future__ import annotations

import itertools
from typing import Any

from derp_auth_lite.exceptions import AuthError, InvalidTokenError
from derp_auth_lite.native_client import NativeAuthClient

from ..support import PASSWORD, Request

NEW_PASSWORD = "another long password"
URL = "https://app.example/page"
_numbers = itertools.count()


def can(act: Any, *arguments: Any, **keywords: Any) -> bool:
    """Tell whether a call of the library works."""
    try:
        act(*arguments, **keywords)
    except AuthError:
        return False
    return True


class Scenario:
    """One act on one account."""

    confirmed = True

    def __init__(self, auth: NativeAuthClient) -> None:
        self.auth = auth
        self.email = f"user{next(_numbers)}@example.com"
        self.prepare()

    def prepare(self) -> None:
        self.user = self.auth.create_user(
            email=self.email, password=PASSWORD, confirmed=self.confirmed
        )
        self.tokens = self.sign_in()
        self.session = self.auth.authenticate(Request(self.tokens.access_token))

    def act(self) -> Any:
        """Do what is to be tried."""
        raise NotImplementedError

    def is_done(self) -> bool:
        """Tell, by looking from outside, whether it was done; fail where it was done by half."""
        raise NotImplementedError

    def again(self) -> Any:
        """Do it once more where it was not done."""
        return self.act()

    def sign_in(self, password: str = PASSWORD) -> Any:
        return self.auth.sign_in_with_password(self.email, password).tokens

    def alive(self) -> bool:
        return self.auth.authenticate(Request(self.tokens.access_token)) is not None

    def mailed(self) -> str:
        self.auth.deliver_mail()
        return str(self.auth._email_client.sent[-1].token)


class SignUp(Scenario):
    def prepare(self):
        pass

    def act(self):
        return self.auth.sign_up(email=self.email, password=PASSWORD, confirmation_url=URL)

    def is_done(self):
        user = self.auth._accounts.by_email(self.email)
        waits = self.auth._outbox.next_due() is not None
        assert (user is not None) == waits, "account and mail are made together"
        self.auth.deliver_mail()
        return user is not None


class SignIn(Scenario):
    def act(self):
        self.answered = self.sign_in()
        return self.answered

    def is_done(self):
        return can(self.sign_in)


class Refresh(Scenario):
    def act(self):
        return self.auth.refresh_token(self.tokens.refresh_token)

    def is_done(self):
        assert self.alive(), "a failed refresh ends no session"
        return can(self.auth.refresh_token, self.tokens.refresh_token)


class SignOut(Scenario):
    def act(self):
        return self.auth.sign_out(self.session.session_id)

    def is_done(self):
        return not self.alive()


class ChangePassword(Scenario):
    def prepare(self):
        super().prepare()
        self.kept = self.auth.authenticate(Request(self.sign_in().access_token))

    def act(self):
        return self.auth.change_password(
            user_id=self.user.id,
            current_password=PASSWORD,
            new_password=NEW_PASSWORD,
            session_id=self.kept.session_id,
        )

    def is_done(self):
        alive, old, new = self.alive(), can(self.sign_in), can(self.sign_in, NEW_PASSWORD)
        assert alive == old == (not new), "password and sessions change together"
        return new


class ResetPassword(Scenario):
    def prepare(self):
        super().prepare()
        self.auth.request_password_recovery(email=self.email, recovery_url=URL)
        self.token = self.mailed()

    def act(self):
        return self.auth.reset_password(self.token, NEW_PASSWORD)

    def is_done(self):
        alive, old, new = self.alive(), can(self.sign_in), can(self.sign_in, NEW_PASSWORD)
        assert alive == old == (not new), "password and sessions change together"
        if new:
            assert not can(self.auth.reset_password, self.token, PASSWORD), "a token is spent once"
        return new


class Confirm(Scenario):
    confirmed = False

    def prepare(self):
        self.auth.sign_up(email=self.email, password=PASSWORD, confirmation_url=URL)
        self.token = self.mailed()

    def act(self):
        return self.auth.confirm_email(self.token)

    def is_done(self):
        user = self.auth._accounts.by_email(self.email)
        confirmed = user.email_confirmed_at is not None
        if confirmed:
            assert not can(self.auth.confirm_email, self.token), "a token is spent once"
        return confirmed


class MagicLink(Scenario):
    def prepare(self):
        self.auth.sign_in_with_magic_link(email=self.email, magic_link_url=URL)
        self.token = self.mailed()

    def act(self):
        return self.auth.verify_magic_link(self.token)

    def is_done(self):
        user = self.auth._accounts.by_email(self.email)
        if user is None:
            return False
        assert len(self.auth.list_sessions(user_id=str(user.id))) == 1
        assert not can(self.auth.verify_magic_link, self.token), "a token is spent once"
        return True


class RequestMail(Scenario):
    def act(self):
        return self.auth.request_password_recovery(email=self.email, recovery_url=URL)

    def is_done(self):
        return self.auth.deliver_mail() > 0


class DeliverMail(Scenario):
    """One that fails is sent later; a lost answer may send it twice, with one Message-ID."""

    def prepare(self):
        super().prepare()
        self.before = len(self.auth._email_client.sent)
        self.auth.request_password_recovery(email=self.email, recovery_url=URL)

    def act(self):
        return self.auth.deliver_mail()

    def is_done(self):
        self.auth._clock.advance(minutes=5)
        self.auth.deliver_mail()
        sent = [
            mail
            for mail in self.auth._email_client.sent[self.before :]
            if (mail.to, mail.kind) == (self.email, "recovery")
        ]
        assert 1 <= len(sent) <= 2, f"{len(sent)} mails"
        assert len({mail.message_id for mail in sent}) == 1
        assert can(self.auth.reset_password, sent[-1].token, NEW_PASSWORD)
        return True


class ConfirmEmailChange(Scenario):
    def prepare(self):
        super().prepare()
        self.new_email = f"new-{self.email}"
        self.auth.request_email_change(
            user_id=self.user.id, new_email=self.new_email, confirm_url=URL
        )
        self.token = self.mailed()

    def act(self):
        return self.auth.confirm_email_change(self.token)

    def is_done(self):
        moved = self.auth.get_user(self.user.id).email == self.new_email
        notified = self.auth._outbox.next_due() is not None
        assert moved == notified, "the old address is told of every change"
        self.auth.deliver_mail()
        return moved


class Disable(Scenario):
    def act(self):
        return self.auth.update_user(user_id=self.user.id, is_active=False)

    def is_done(self):
        disabled = not self.auth.get_user(self.user.id).is_active
        assert disabled == (self.auth.list_sessions(user_id=self.user.id) == [])
        return disabled


class DeleteUser(Scenario):
    def act(self):
        return self.auth.delete_user(self.user.id)

    def is_done(self):
        return self.auth._accounts.by_email(self.email) is None


class CreateOrg(Scenario):
    def act(self):
        slug = self.email.partition("@")[0]
        return self.auth.create_org(name="Acme", slug=slug, creator_id=self.user.id)

    def is_done(self):
        return len(self.auth.list_orgs(user_id=self.user.id)) == 1


class DeleteOrg(CreateOrg):
    def prepare(self):
        super().prepare()
        self.org = CreateOrg.act(self)
        self.auth.set_active_org(session_id=self.session.session_id, org_id=self.org.id)

    def act(self):
        return self.auth.delete_org(org_id=self.org.id)

    def is_done(self):
        there = self.auth.list_orgs(user_id=self.user.id)
        (session,) = self.auth.list_sessions(user_id=self.user.id)
        assert (session.org_id is not None) == bool(there)
        return not there


class HandOver(CreateOrg):
    """The last owner names another and steps down; between the two acts there is always one."""

    def prepare(self):
        super().prepare()
        self.org = CreateOrg.act(self)
        self.other = self.auth.create_user(email=f"other-{self.email}")

    def act(self):
        org = self.org.id
        if not self.is_member(self.other.id):
            self.auth.add_org_member(org_id=org, user_id=self.other.id, role="owner")
        return self.auth.remove_org_member(org_id=org, user_id=self.user.id)

    def is_member(self, user_id):
        members = self.auth.list_org_members(org_id=self.org.id)
        return user_id in {member.user_id for member in members}

    def is_done(self):
        return not self.is_member(self.user.id)


class ReuseRefreshToken(Scenario):
    """A token that comes back late ends its session, which must hold though the call fails."""

    def prepare(self):
        super().prepare()
        self.auth.refresh_token(self.tokens.refresh_token)
        self.auth._clock.advance(minutes=1)

    def act(self):
        try:
            self.auth.refresh_token(self.tokens.refresh_token)
        except InvalidTokenError:
            return True
        raise AssertionError("a spent token was taken")

    def is_done(self):
        return not self.alive()


ALL = [
    SignUp, SignIn, Refresh, SignOut, ChangePassword, ResetPassword, Confirm, MagicLink,
    RequestMail, DeliverMail, ConfirmEmailChange, Disable, DeleteUser, CreateOrg, DeleteOrg,
    HandOver, ReuseRefreshToken,
]  # fmt: skip
