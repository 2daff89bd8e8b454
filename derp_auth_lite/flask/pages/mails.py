"""Asking for a mail: a link to sign in, for a new password, or to confirm once more."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from flask import abort, current_app, request
from flask.typing import ResponseReturnValue

from ...email import SentMail
from .._links import link
from ..state import is_loopback, on_this_machine, state
from .blueprint import pages
from .show import attempt, go, next_page, show, status_of

__all__: list[str] = []


@pages.route("/check-mail")
def check_mail() -> ResponseReturnValue:
    """Say that a mail is on its way, or would be if there were an account."""
    return show("check_mail.html", what=request.args.get("what"))


@pages.route("/forgot-password", methods=["GET", "POST"])
def forgot_password() -> ResponseReturnValue:
    """Ask for a link for a new password."""
    return _ask(
        "forgot_password.html",
        "recovery",
        lambda email: state().native.request_password_recovery(
            email=email, recovery_url=link("reset_password"), request=request
        ),
    )


@pages.route("/magic-link", methods=["GET", "POST"])
def magic_link() -> ResponseReturnValue:
    """Ask for a link that signs in once."""
    if not state().native.config.enable_magic_link:
        abort(404)
    return _ask(
        "magic_link.html",
        "magic_link",
        lambda email: state().native.sign_in_with_magic_link(
            email=email, magic_link_url=link("enter", next=next_page()), request=request
        ),
    )


@pages.route("/confirm-again", methods=["GET", "POST"])
def confirm_again() -> ResponseReturnValue:
    """Ask for another confirmation mail."""
    return _ask(
        "confirm_again.html",
        "confirmation",
        lambda email: state().native.resend_confirmation_email(
            email=email, confirmation_url=link("confirm", next=next_page()), request=request
        ),
    )


def _ask(template: str, what: str, send: Callable[[str], None]) -> ResponseReturnValue:
    email = request.form.get("email", "").strip()
    if request.method == "GET":
        return show(template, email=request.args.get("email", ""), next=next_page())
    _, errors = attempt(partial(send, email))
    if errors:
        status = status_of(errors)
        return show(template, status=status, errors=errors, email=email, next=next_page())
    return go("check_mail", what=what)


@pages.route("/dev/mail")
def dev_mail() -> ResponseReturnValue:
    """Show the mails that went to a folder or to memory; while debugging, on this machine only."""
    return show("dev_mail.html", mails=list(enumerate(_sent()))[::-1])


@pages.route("/dev/mail/<int:number>")
def dev_mail_message(number: int) -> ResponseReturnValue:
    """Show one of them."""
    sent = _sent()
    if number >= len(sent):
        abort(404)
    return show("dev_mail_message.html", mail=sent[number], holds_token=True)


def _sent() -> list[SentMail]:
    client = state().native
    # The Host header is the sender's word, so the other end's address is asked for as well.
    here = on_this_machine(request) and is_loopback(request.remote_addr or "")
    if not current_app.debug or not here or client.email_client is None:
        abort(404)
    try:
        client.deliver_mail(timeout=2)
        return client.email_client.sent
    except TypeError:  # mails go to a server
        abort(404)
