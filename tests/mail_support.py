"""What tests of mailed links ask for, and the mails that come."""

from __future__ import annotations

from derp_auth_lite._statements import Statement
from derp_auth_lite._tables import Event, OutboxMail

from .support import PASSWORD

__all__ = [
    "ACTIONS",
    "ADA",
    "EVE",
    "INTENTS",
    "ON",
    "OTHER_PASSWORD",
    "PAGE",
    "confirmed",
    "email_change",
    "failures",
    "magic_link",
    "recovery",
    "sent",
    "sign_up",
]

ADA = "ada@example.com"
EVE = "eve@example.com"
PAGE = "https://notes.example.com/mail"
ON = {"enable_confirmation": True, "enable_magic_link": True}
OTHER_PASSWORD = "a wholly other set of words"
INTENTS = Statement(lambda: OutboxMail.select(OutboxMail.kind, OutboxMail.email))
ACTIONS = Statement(
    lambda: Event.select(Event.action, Event.outcome, Event.reason).order_by(Event.created_at)
)


def sent(auth):
    """Return all mails so far, the waiting ones included."""
    auth.deliver_mail()
    return auth._email_client.sent


def sign_up(auth, email=ADA, **profile):
    result = auth.sign_up(email=email, password=PASSWORD, confirmation_url=PAGE, **profile)
    return result.user


def confirmed(auth, email=ADA):
    """Return a user whose address is proved."""
    sign_up(auth, email)
    return auth.confirm_email(sent(auth)[-1].token)


def recovery(auth, email=ADA):
    auth.request_password_recovery(email=email, recovery_url=PAGE)
    return sent(auth)[-1].token


def magic_link(auth, email=ADA):
    auth.sign_in_with_magic_link(email=email, magic_link_url=PAGE)
    return sent(auth)[-1].token


def email_change(auth, user, new_email="countess@example.com", **given):
    auth.request_email_change(user_id=user.id, new_email=new_email, confirm_url=PAGE, **given)
    return sent(auth)[-1].token


def failures(auth):
    return [row for row in auth._db.fetch(ACTIONS) if row[1] == "failure"]
