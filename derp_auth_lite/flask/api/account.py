"""One's own account: profile, password, address, sessions, providers, and its end."""

from __future__ import annotations

from typing import Any

from flask import request

from ...exceptions import (
    IdentityAlreadyExistsError,
    InvalidCredentialsError,
    InvalidCursorError,
    InvalidEmailError,
    InvalidProfileError,
    LastIdentityError,
    LastOwnerError,
    PasswordValidationError,
    RateLimitedError,
)
from ...models import SessionInfo
from .._links import has_link, link
from .._refusals import LoginRequiredError, NotFoundError, WrongPasswordError
from ..state import state
from .enter import CODE, PROFILE, client_at_hand, known_provider, providers
from .fields import ADDRESS, PASSWORD, Text, Whole
from .operation import Access, Operations
from .records import Ended, Identities, Identity, Page, Session, Start, User, page_of, pick

__all__ = ["PAGE", "me", "my_session", "sessions"]

PAGE = {
    "limit": Whole(least=1, most=100, required=False, default=20, note="How many at most."),
    "after": Text(
        longest=200, required=False, default=None, note="`next_cursor` of the page before."
    ),
}

me = Operations("One's own account")
sessions = Operations("Sessions")


def my_session() -> SessionInfo:
    """Return the session at hand, in an operation that needs one."""
    session = state().session()
    if session is None:
        raise LoginRequiredError
    return session


@me.add("GET", "/me", answers={200: User})
def show_me() -> User:
    """Show the account."""
    user = state().user()
    if user is None:  # deleted a moment ago
        raise LoginRequiredError
    return pick(User, user)


@me.add("PATCH", "/me", body=PROFILE, answers={200: User}, errors=(InvalidProfileError,))
def change_me(**changes: Any) -> User:
    """Change what is given of the profile; the rest stays as it is."""
    return pick(User, state().native.update_user(user_id=my_session().user_id, **changes))


@me.add("DELETE", "/me", access=Access.RECENT, answers={204: None}, errors=(LastOwnerError,))
def delete_me() -> None:
    """Delete the account, with its sessions and memberships. There is no way back."""
    state().native.delete_user(my_session().user_id)
    state().sign_out()


@me.add(
    "POST",
    "/me/password",
    body={"current_password": PASSWORD, "password": PASSWORD},
    answers={204: None},
    errors=(WrongPasswordError, PasswordValidationError, RateLimitedError),
)
def change_password(*, current_password: str, password: str) -> None:
    """Set another password, with the present one. All other sessions end."""
    session = my_session()
    try:
        state().native.change_password(
            user_id=session.user_id,
            current_password=current_password,
            new_password=password,
            session_id=session.session_id,
            request=request,
        )
    except InvalidCredentialsError as error:
        raise WrongPasswordError from error


@me.add(
    "POST",
    "/me/email",
    access=Access.RECENT,
    offered=lambda auth: auth.native.sends_mail and has_link(auth.settings, "confirm_new_email"),
    body={"email": ADDRESS},
    answers={202: None},
    errors=(InvalidEmailError, RateLimitedError),
)
def change_email(*, email: str) -> None:
    """Mail a link to a new address; nothing changes before it is used."""
    state().native.request_email_change(
        user_id=my_session().user_id,
        new_email=email,
        confirm_url=link("confirm_new_email"),
        request=request,
    )


@sessions.add("GET", "/session", answers={200: Session})
def show_session() -> Session:
    """Show the session that asks; for a token, `expires_at` is the end of the token."""
    return _session(my_session())


@sessions.add(
    "GET", "/sessions", query=PAGE, answers={200: Page[Session]}, errors=(InvalidCursorError,)
)
def list_sessions(*, limit: int, after: str | None) -> Page[Session]:
    """List where one is signed in, the newest first."""
    user_id = my_session().user_id
    page = state().native.list_sessions_by_cursor(user_id=user_id, limit=limit, after=after)
    return page_of(page, _session)


@sessions.add("POST", "/sessions/end-others", answers={200: Ended})
def end_other_sessions() -> Ended:
    """Sign out everywhere else."""
    return Ended(ended=state().native.revoke_other_sessions(my_session().session_id))


@sessions.add("DELETE", "/sessions/{session_id}", answers={204: None}, errors=(NotFoundError,))
def end_session(*, session_id: str) -> None:
    """Sign out somewhere: end one of one's own sessions."""
    client = state().native
    mine = client.list_sessions(user_id=my_session().user_id)
    if session_id not in {session.session_id for session in mine}:
        raise NotFoundError
    client.sign_out(session_id)


@me.add("GET", "/me/identities", answers={200: Identities})
def list_identities() -> Identities:
    """List the accounts at providers that one signs in with."""
    found = state().native.list_identities(my_session().user_id)
    return Identities(data=[pick(Identity, identity) for identity in found])


@me.add(
    "POST",
    "/me/identities/unlink",
    access=Access.RECENT,
    body={"provider": Text(), "subject": Text(longest=1024)},
    answers={204: None},
    errors=(NotFoundError, LastIdentityError),
)
def unlink_identity(*, provider: str, subject: str) -> None:
    """Take a provider's account from one's own; the last way to sign in stays."""
    removed = state().native.unlink_identity(
        user_id=my_session().user_id, provider=provider, subject=subject, request=request
    )
    if not removed:
        raise NotFoundError


@providers.add(
    "POST",
    "/me/identities/{provider}/start",
    access=Access.RECENT,
    answers={200: Start},
    errors=(NotFoundError, RateLimitedError),
)
def start_link(*, provider: str) -> Start:
    """Begin to link an account at a provider to one's own."""
    user_id = my_session().user_id
    start = state().native.start_oauth(known_provider(provider), user_id=user_id, request=request)
    return pick(Start, start)


@providers.add(
    "POST",
    "/me/identities/{provider}/finish",
    body=CODE,
    answers={200: Identity},
    errors=(NotFoundError, InvalidCredentialsError, IdentityAlreadyExistsError),
)
def finish_link(*, provider: str, code: str, state: str, iss: str | None, binding: str) -> Identity:
    """Finish to link an account at a provider to one's own."""
    identity = client_at_hand().link_identity(
        user_id=my_session().user_id,
        provider=known_provider(provider),
        code=code,
        state=state,
        iss=iss,
        binding=binding,
        request=request,
    )
    return pick(Identity, identity)


def _session(info: SessionInfo) -> Session:
    return Session(
        id=info.session_id,
        current=info.session_id == my_session().session_id,
        user_agent=info.metadata.get("user_agent"),
        ip_address=info.metadata.get("ip_address"),
        created_at=info.metadata.get("created_at"),
        expires_at=info.expires_at,
        organization_id=info.org_id,
        organization_role=info.org_role,
    )
