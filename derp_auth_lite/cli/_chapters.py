"""What the tour shows: chapters of steps, a step being a call and what should come of it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ACCOUNT", "MAILS", "TEAMS", "Chapter", "Step"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One call.

    Args:
        says: What happens here, for the reader.
        call: A Python expression over the names that earlier steps have set.
        name: What the result is called from here on, if it is needed.
        expect: An expression that must be true of the result, which it calls ``it``.
        raises: The name of the error that must be raised instead.
    """

    says: str
    call: str
    name: str | None = None
    expect: str = "it is None"
    raises: str | None = None


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """A part of the tour.

    Steps share the names ``auth``, ``clock``, ``mailbox`` and ``Request``, and what they name.
    """

    title: str
    steps: tuple[Step, ...]


ACCOUNT = Chapter(
    title="The life of an account",
    steps=(
        Step(
            says="Somebody signs up. Of the password only an Argon2id hash is kept.",
            call='auth.sign_up(email="ada@example.com", password="correct horse battery")',
            expect="it.user.email == 'ada@example.com'",
        ),
        Step(
            says="She signs in: a session begins.",
            name="result",
            call='auth.sign_in_with_password("ada@example.com", "correct horse battery")',
            expect="it.tokens is not None",
        ),
        Step(
            says="Her client sends the access token with each request.",
            name="request",
            call='Request(headers={"Authorization": "Bearer " + result.tokens.access_token})',
            expect="True",
        ),
        Step(
            says="Who is it? Any object with .headers will do, such as Flask's request.",
            name="session",
            call="auth.authenticate(request)",
            expect="it is not None and it.user_id == result.user.id",
        ),
        Step(
            says="Access tokens are short-lived: the refresh token gets the next pair, once.",
            name="tokens",
            call="auth.refresh_token(result.tokens.refresh_token)",
            expect="it.refresh_token != result.tokens.refresh_token",
        ),
        Step(
            says="Eleven seconds pass; for ten, a client whose answer got lost may ask again.",
            call="clock.advance(seconds=11)",
        ),
        Step(
            says="A thief comes with the old refresh token. It was used, so it is refused,",
            call="auth.refresh_token(result.tokens.refresh_token)",
            raises="InvalidTokenError",
        ),
        Step(
            says="and the session that it was stolen from is over, for the thief too.",
            call="auth.authenticate(request)",
        ),
        Step(
            says="Ada signs in again,",
            name="result",
            call='auth.sign_in_with_password("ada@example.com", "correct horse battery")',
            expect="it.tokens is not None",
        ),
        Step(
            says="with a new token",
            name="request",
            call='Request(headers={"Authorization": "Bearer " + result.tokens.access_token})',
            expect="True",
        ),
        Step(
            says="and a new session,",
            name="session",
            call="auth.authenticate(request)",
            expect="it is not None and it.session_id != session.session_id",
        ),
        Step(
            says="and signs out.",
            call="auth.sign_out(session.session_id)",
        ),
        Step(
            says="That takes effect at once, although the access token has minutes to go.",
            call="auth.authenticate(request)",
        ),
        Step(
            says="A wrong password is refused, in the words that an unknown address gets.",
            call='auth.sign_in_with_password("ada@example.com", "correct horse")',
            raises="InvalidCredentialsError",
        ),
    ),
)

MAILS = Chapter(
    title="Mails",
    steps=(
        Step(
            says="A mail is asked for; the call returns at once, a thread sends it. Here it goes\n"
            "into a folder beside the database; with EmailConfig it goes to a mail server.",
            call='auth.resend_confirmation_email(email="ada@example.com",'
            ' confirmation_url="https://notes.example.com/confirm?lang=en")',
        ),
        Step(
            says="This is what was sent; there is an HTML part, too.",
            name="mail",
            call="mailbox.newest()",
            expect="it.to == 'ada@example.com' and 'lang=en&token=' in it.link",
        ),
        Step(
            says="The page behind the link confirms the address.",
            call="auth.confirm_email(mail.token)",
            expect="it.email_confirmed_at is not None",
        ),
        Step(
            says="A link works once.",
            call="auth.confirm_email(mail.token)",
            raises="InvalidTokenError",
        ),
        Step(
            says="A minute passes; an address gets one mail a minute, whoever asks for more.",
            call="clock.advance(seconds=61)",
        ),
        Step(
            says="Ada forgot her password. An unknown address would be answered just alike.",
            call='auth.request_password_recovery(email="ada@example.com",'
            ' recovery_url="https://notes.example.com/reset")',
        ),
        Step(
            says="Of the mail, the link is all that it takes,",
            name="mail",
            call="mailbox.newest()",
            expect="'/reset?token=' in it.link",
        ),
        Step(
            says="to set a new password. Every session ends, and a notice is mailed.",
            call='auth.reset_password(mail.token, "a better horse battery")',
            expect="it.email == 'ada@example.com'",
        ),
        Step(
            says="The notice, so that nobody changes a password unnoticed:",
            name="notice",
            call="mailbox.newest()",
            expect="it.link is None or 'token' not in it.link",
        ),
        Step(
            says="The next minute,",
            call="clock.advance(seconds=61)",
        ),
        Step(
            says="a link instead of a password: magic links are turned on where the tour begins.",
            call='auth.sign_in_with_magic_link(email="ada@example.com",'
            ' magic_link_url="https://notes.example.com/enter")',
        ),
        Step(
            says="It is good for ten minutes,",
            name="mail",
            call="mailbox.newest()",
            expect="'/enter?token=' in it.link",
        ),
        Step(
            says="signs in,",
            name="result",
            call="auth.verify_magic_link(mail.token)",
            expect="it.tokens is not None",
        ),
        Step(
            says="and is refused the second time.",
            call="auth.verify_magic_link(mail.token)",
            raises="InvalidTokenError",
        ),
    ),
)

TEAMS = Chapter(
    title="Organizations",
    steps=(
        Step(
            says="Ada founds an organization and is its owner.",
            name="org",
            call='auth.create_org(name="Analytical Engines", slug="engines",'
            " creator_id=result.user.id)",
            expect="it.slug == 'engines'",
        ),
        Step(
            says="An administrator makes an account for Charles,",
            name="charles",
            call='auth.create_user(email="charles@example.com", confirmed=True)',
            expect="it.email_confirmed_at is not None",
        ),
        Step(
            says="and Ada takes him in.",
            call='auth.add_org_member(slug="engines", user_id=charles.id)',
            expect="it.role == 'member'",
        ),
        Step(
            says="She works for it from now on: tokens carry the organization and her role in it.",
            name="session",
            call='auth.authenticate(Request(headers={"Authorization": "Bearer " +'
            " result.tokens.access_token}))",
            expect="it is not None and it.org_id is None",
        ),
        Step(
            says="The session's id comes from the session, never from what somebody typed.",
            name="tokens",
            call="auth.set_active_org(session_id=session.session_id, org_id=org.id)",
            expect="it.access_token != result.tokens.access_token",
        ),
        Step(
            says="Now her session says so.",
            name="session",
            call='auth.authenticate(Request(headers={"Authorization": "Bearer " +'
            " tokens.access_token}))",
            expect="it.org_id == org.id and it.org_role == 'owner'",
        ),
        Step(
            says="A gate for roles,",
            call='auth.is_org_authorized(session, org.id, "owner", "admin")',
            expect="it is True",
        ),
        Step(
            says="and one for tenants: what belongs to another organization is refused.",
            call='auth.assert_same_org(session, "00000000-0000-4000-8000-000000000000")',
            raises="OrgMismatchError",
        ),
        Step(
            says="An organization always has an owner: the last one cannot leave.",
            call='auth.remove_org_member(slug="engines", user_id=result.user.id)',
            raises="LastOwnerError",
        ),
    ),
)
