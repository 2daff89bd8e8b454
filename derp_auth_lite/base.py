"""The one interface that every backend has: users, sessions, sign-in, organizations."""

from __future__ import annotations

import abc
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .exceptions import OrgMismatchError
from .models import (
    AuthProvider,
    AuthRequest,
    AuthResult,
    CursorResult,
    Id,
    OrgInfo,
    OrgMemberInfo,
    SessionInfo,
    TokenPair,
    UserInfo,
)

if TYPE_CHECKING:
    from .email import EmailClient
    from .kv.base import KVClient
    from .orm import DatabaseEngine
    from .providers import BaseOAuthProvider

__all__ = ["BaseAuthClient"]


class BaseAuthClient(abc.ABC):
    """What can be done with accounts, wherever they are kept.

    A client is a context manager: it connects on entry and disconnects on exit. Ids are taken as
    ``str`` or ``uuid.UUID``. No method asks who calls it: what a docstring calls an administrator's
    is for the application to guard, and what it says must come from an authenticated session must
    not be read from a form or a URL.

    Every method that reaches the backend can raise, besides what its docstring names,
    :class:`~derp_auth_lite.exceptions.AuthNotConnectedError` outside of :meth:`connect` and
    :meth:`disconnect`, and :class:`~derp_auth_lite.exceptions.AuthBackendError` when the database,
    the KV store or the hosted service fails. What a backend does not offer raises
    ``NotImplementedError`` with a sentence that says what to use instead.
    """

    def __enter__(self) -> Self:
        """Connect."""
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disconnect; an error goes on."""
        self.disconnect()

    def connect(self) -> None:  # noqa: B027 -- a backend without connections has nothing to do
        """Open what the backend needs. Connecting twice does nothing."""

    def disconnect(self) -> None:  # noqa: B027 -- as connect
        """Close what :meth:`connect` opened. Disconnecting twice does nothing."""

    def set_db(self, db: DatabaseEngine | None) -> None:  # noqa: B027 -- not every backend has one
        """Use *db* from now on; a backend that keeps nothing in a database ignores it."""

    def set_kv(self, kv: KVClient | None) -> None:  # noqa: B027 -- as set_db
        """Use *kv* for one-time tokens and limits from now on; a backend without ignores it."""

    def set_email(self, email_client: EmailClient | None) -> None:  # noqa: B027 -- as set_db
        """Send mail through *email_client* from now on; a backend that sends none ignores it."""

    @abc.abstractmethod
    def get_user(self, user_id: Id) -> UserInfo:
        """Return the account with this id.

        Raises:
            UserNotFoundError: There is none, or the id has another form than the backend's ids.
        """

    @abc.abstractmethod
    def list_users(self, *, limit: int | None = None, offset: int | None = None) -> list[UserInfo]:
        """Return accounts, the newest first. An administrator's call.

        Args:
            limit: How many at most; all if left out.
            offset: How many to pass over. :meth:`list_users_by_cursor` does not slip when accounts
                come and go between two pages.

        Raises:
            ValueError: ``limit`` or ``offset`` is negative.
        """

    @abc.abstractmethod
    def update_user(self, *, user_id: Id, email: str | None = None, **kwargs: Any) -> UserInfo:
        """Change an account and return it as it is then. An administrator's call.

        Args:
            user_id: Whose account.
            email: A new address. It counts as unconfirmed until it is proved, and ends all links
                that were sent to the old one.
            **kwargs: ``first_name``, ``last_name``, ``username``, ``image_url``, ``metadata``,
                ``role``, ``is_active``, ``is_superuser``. Never pass on a form unseen: the last
                three give or take rights.

        Raises:
            UserNotFoundError: There is no such account.
            InvalidEmailError: Mail could not be sent to the new address.
            EmailAlreadyExistsError: The new address belongs to another account.
            InvalidProfileError: A value cannot be stored.
            TypeError: A keyword is none of these.
        """

    @abc.abstractmethod
    def delete_user(self, user_id: Id) -> bool:
        """Delete an account with its sessions and memberships; ``False`` if there is none.

        An administrator's call, or the user's own after signing in anew.

        Raises:
            LastOwnerError: An organization would be left without an owner.
        """

    @abc.abstractmethod
    def count_users(self) -> int:
        """Return how many accounts there are."""

    @abc.abstractmethod
    def authenticate(self, request: AuthRequest) -> SessionInfo | None:
        """Return the session whose access token *request* carries, or ``None``.

        The token is read from the header ``Authorization: Bearer <token>``. Whatever is wrong with
        header, token or session gives ``None`` and never an exception.

        Raises:
            AuthBackendError: Nothing can be said, because the backend does not answer. It is not
                ``None``, since an application would sign everybody out.
        """

    @abc.abstractmethod
    def list_sessions(
        self, *, user_id: Id | None = None, limit: int | None = None, offset: int | None = None
    ) -> list[SessionInfo]:
        """Return live sessions, the newest first.

        Args:
            user_id: Whose; with ``None`` everybody's, which is an administrator's call.
            limit: How many at most; all if left out.
            offset: How many to pass over.

        Raises:
            ValueError: ``limit`` or ``offset`` is negative.
        """

    @abc.abstractmethod
    def sign_out(self, session_id: Id) -> None:
        """End a session; one that has ended already is fine.

        ``session_id`` must come from an authenticated session, or from an administrator.
        """

    @abc.abstractmethod
    def sign_out_all(self, user_id: Id) -> None:
        """End every session of a user, the one at hand included.

        ``user_id`` must come from an authenticated session, or from an administrator.
        """

    def is_authorized(self, session: SessionInfo, *roles: str) -> bool:
        """Tell whether the user's role is one of *roles*; with none given nobody's is."""
        return session.role in roles

    def sign_up(
        self,
        *,
        email: str,
        password: str,
        request: AuthRequest | None = None,
        confirmation_url: str | None = None,
        confirmation_subject: str = "Confirm your email address",
        user_agent: str | None = None,
        ip_address: str | None = None,
        **kwargs: Any,
    ) -> AuthResult:
        """Make an account and, unless its address must be confirmed first, sign in.

        Args:
            email: The address; stored in lower case.
            password: Taken as it is, neither trimmed nor cut (NIST SP 800-63B-4, 3.1.1.2).
            request: Where user agent and sender are read from, unless they are given.
            confirmation_url: The page that calls :meth:`confirm_email`; the mail's link is this
                URL with ``token`` added to its query. Needed while confirmation is on.
            confirmation_subject: The subject of that mail.
            user_agent: Kept with the session.
            ip_address: Kept with the session.
            **kwargs: ``first_name``, ``last_name``, ``username``, ``image_url``, ``metadata``, and
                nothing that gives rights.

        Returns:
            The account; ``tokens`` is ``None`` until the address is confirmed.

        Raises:
            EmailAlreadyExistsError: The address has an account.
            InvalidEmailError: Mail could not be sent to the address.
            PasswordValidationError: The password does not meet the policy.
            InvalidProfileError: A profile field cannot be stored.
            SignupDisabledError: Signing up is turned off.
            ConfirmationURLMissingError: Confirmation is on and ``confirmation_url`` is missing.
            RateLimitedError: Too many attempts.
            TypeError: A keyword is no profile field.
        """
        raise NotImplementedError(
            self._instead("sign_up", "make accounts where this backend keeps them")
        )

    def sign_in_with_password(
        self,
        email: str,
        password: str,
        *,
        request: AuthRequest | None = None,
        first_name: str | None = None,
        last_name: str | None = None,
        user_agent: str | None = None,
        ip_address: str | None = None,
    ) -> AuthResult:
        """Begin a session.

        Args:
            email: The address, in any case.
            password: As it was given at sign-up.
            request: Where user agent and sender are read from, unless they are given.
            first_name: Fills in a name that the account lacks.
            last_name: The same.
            user_agent: Kept with the session.
            ip_address: Kept with the session, and counted against guessing.

        Raises:
            InvalidCredentialsError: Address or password is wrong; which, is not told (OWASP ASVS
                5.0, 6.3.8).
            EmailNotConfirmedError: The password is right, the address not yet confirmed.
            UserDisabledError: The password is right, the account disabled.
            AuthStepRequiredError: A hosted backend wants one more step.
            RateLimitedError: Too many attempts.
        """
        raise NotImplementedError(
            self._instead("sign_in_with_password", "use sign_in_with_oauth or a magic link")
        )

    def sign_in_with_magic_link(
        self, *, email: str, magic_link_url: str, request: AuthRequest | None = None
    ) -> None:
        """Mail a link that signs in once. Says nothing of whether the address has an account.

        Args:
            email: Who wants to sign in.
            magic_link_url: The page that calls :meth:`verify_magic_link`; the link is this URL with
                ``token`` added to its query. Mail scanners open links, so the page must wait for a
                click before it calls.
            request: Who asks, to count attempts.

        Raises:
            InvalidEmailError: Mail could not be sent to the address.
            RateLimitedError: Too many attempts.
            ValueError: Magic links are not enabled.
        """
        raise NotImplementedError(
            self._instead("sign_in_with_magic_link", "use sign_in_with_password or OAuth")
        )

    def verify_magic_link(
        self, token: str, *, user_agent: str | None = None, ip_address: str | None = None
    ) -> AuthResult:
        """Begin a session with the token of a magic link, which is spent by it.

        The link proves its address. An account whose address had not been proved before loses the
        password and the sessions that somebody else may have given it.

        Raises:
            InvalidTokenError: The token is unknown, expired or spent, or its account is disabled.
        """
        raise NotImplementedError(
            self._instead("verify_magic_link", "use sign_in_with_password or OAuth")
        )

    def get_oauth_provider(self, provider: str | AuthProvider) -> BaseOAuthProvider[Any]:
        """Return the client of a configured provider.

        Raises:
            ValueError: No such provider is configured.
        """
        raise NotImplementedError(
            self._instead("get_oauth_provider", "build the URL with get_oauth_authorization_url")
        )

    def get_oauth_authorization_url(
        self,
        provider: str | AuthProvider,
        state: str,
        scopes: list[str] | None = None,
        redirect_uri: str | None = None,
    ) -> str:
        """Return the provider's page to which the browser is sent.

        Args:
            provider: ``"google"``, ``"github"``, or the name of a configured provider.
            state: An unguessable value, kept in the browser's session and compared there when the
                provider sends the browser back (RFC 9700, section 4.7).
            scopes: Instead of the configured ones.
            redirect_uri: Instead of the configured one; must be registered with the provider.

        Raises:
            ValueError: No such provider is configured.
        """
        raise NotImplementedError(
            self._instead("get_oauth_authorization_url", "use sign_in_with_password")
        )

    def sign_in_with_oauth(
        self,
        provider: str | AuthProvider,
        code: str,
        *,
        redirect_uri: str | None = None,
        user_agent: str | None = None,
        ip_address: str | None = None,
        request: AuthRequest | None = None,
    ) -> AuthResult:
        """Begin a session with the code that the provider sent along with the browser.

        Compare the returned state before calling this, as :meth:`get_oauth_authorization_url` says.

        Args:
            provider: The one that the browser was sent to.
            code: From the query of the callback.
            redirect_uri: The one that the browser was sent with, if it was not the configured one.
            user_agent: Kept with the session.
            ip_address: Kept with the session.
            request: Where user agent and sender are read from, unless they are given.

        Raises:
            InvalidCredentialsError: The provider refused the code, or vouches for no address.
            UserDisabledError: The account is disabled.
            SignupDisabledError: There is no account, and signing up is turned off.
            ValueError: No such provider is configured.
        """
        raise NotImplementedError(self._instead("sign_in_with_oauth", "use sign_in_with_password"))

    def refresh_token(self, refresh_token: str, *, request: AuthRequest | None = None) -> TokenPair:
        """Return a new access token and the refresh token to use from now on.

        A refresh token works once. Presented again later it is taken for stolen, and its session
        ends (RFC 9700, section 4.14.2).

        Args:
            refresh_token: The latest one of the session.
            request: Who asks, for the record.

        Raises:
            InvalidTokenError: The token is unknown, expired or spent; or its session has ended, or
                its user is disabled.
        """
        raise NotImplementedError(
            self._instead("refresh_token", "sign in again when the access token has expired")
        )

    def request_password_recovery(
        self,
        *,
        email: str,
        recovery_url: str,
        recovery_subject: str = "Reset your password",
        request: AuthRequest | None = None,
        **kwargs: Any,
    ) -> None:
        """Mail a link for a new password. Says nothing of whether the address has an account.

        Args:
            email: Whose password is lost.
            recovery_url: The page that calls :meth:`reset_password`; the link is this URL with
                ``token`` added to its query.
            recovery_subject: The subject of the mail.
            request: Who asks, to count attempts.
            **kwargs: Variables for the mail's template.

        Raises:
            InvalidEmailError: Mail could not be sent to the address.
            RateLimitedError: Too many attempts.
        """
        raise NotImplementedError(
            self._instead(
                "request_password_recovery", "let an administrator set another password there"
            )
        )

    def reset_password(self, token: str, new_password: str) -> UserInfo:
        """Set a new password with the token of a recovery link, which is spent by it.

        Ends all sessions and all other links of the account, and does not sign in (OWASP ASVS 5.0,
        6.4.3 and 7.4.3).

        Raises:
            InvalidTokenError: The token is unknown, expired or spent.
            PasswordValidationError: The password does not meet the policy; the token stays good.
        """
        raise NotImplementedError(
            self._instead("reset_password", "let an administrator set another password there")
        )

    def confirm_email(self, token: str) -> UserInfo:
        """Take an address for proved, with the token of a confirmation link, which is spent by it.

        Raises:
            InvalidTokenError: The token is unknown, expired or spent, or the address has changed.
        """
        raise NotImplementedError(
            self._instead("confirm_email", "confirm addresses where this backend keeps them")
        )

    def resend_confirmation_email(
        self,
        *,
        email: str,
        confirmation_url: str,
        confirmation_subject: str = "Confirm your email address",
        request: AuthRequest | None = None,
        **kwargs: Any,
    ) -> None:
        """Mail another confirmation link. Says nothing of whether the address has an account.

        Args:
            email: The address to confirm; one that is confirmed already gets no mail.
            confirmation_url: As for :meth:`sign_up`.
            confirmation_subject: The subject of the mail.
            request: Who asks, to count attempts.
            **kwargs: Variables for the mail's template.

        Raises:
            InvalidEmailError: Mail could not be sent to the address.
            RateLimitedError: Too many attempts.
        """
        raise NotImplementedError(
            self._instead(
                "resend_confirmation_email", "confirm addresses where this backend keeps them"
            )
        )

    def create_org(self, *, name: str, slug: str, creator_id: Id, **kwargs: Any) -> OrgInfo:
        """Make an organization, whose creator becomes its first owner.

        Args:
            name: For people.
            slug: For URLs; unique.
            creator_id: Must come from an authenticated session, or from an administrator.
            **kwargs: ``metadata``, a JSON object.

        Raises:
            OrgSlugConflictError: The slug is taken.
            UserNotFoundError: There is no such creator.
            InvalidProfileError: A value cannot be stored.
        """
        raise NotImplementedError(self._instead("create_org", _NO_ORGS))

    def get_org(self, *, org_id: Id | None = None, slug: str | None = None) -> OrgInfo:
        """Return the organization with this id or this slug.

        Raises:
            OrgNotFoundError: There is none.
            ValueError: Both or neither of the two are given.
        """
        raise NotImplementedError(self._instead("get_org", _NO_ORGS))

    def update_org(
        self,
        *,
        org_id: Id | None = None,
        org_slug: str | None = None,
        name: str | None = None,
        slug: str | None = None,
        **kwargs: Any,
    ) -> OrgInfo:
        """Change an organization and return it as it is then. An owner's call.

        Args:
            org_id: Which one; or else
            org_slug: which one, by its present slug.
            name: A new name.
            slug: A new slug. Only here does it not say which organization is meant.
            **kwargs: ``metadata``, a JSON object.

        Raises:
            OrgNotFoundError: There is none.
            OrgSlugConflictError: The new slug is taken.
            InvalidProfileError: A value cannot be stored.
            ValueError: Both or neither of ``org_id`` and ``org_slug`` are given.
        """
        raise NotImplementedError(self._instead("update_org", _NO_ORGS))

    def delete_org(self, *, org_id: Id | None = None, slug: str | None = None) -> bool:
        """Delete an organization with its memberships; ``False`` if there is none.

        An owner's call. Sessions that had it active go on without an organization.

        Raises:
            ValueError: Both or neither of ``org_id`` and ``slug`` are given.
        """
        raise NotImplementedError(self._instead("delete_org", _NO_ORGS))

    def list_orgs(
        self, *, user_id: Id | None = None, limit: int | None = None, offset: int | None = None
    ) -> list[OrgInfo]:
        """Return organizations, the newest first.

        Args:
            user_id: Only those that this user is a member of; with ``None`` all, which is an
                administrator's call.
            limit: How many at most; all if left out.
            offset: How many to pass over.

        Raises:
            ValueError: ``limit`` or ``offset`` is negative.
        """
        raise NotImplementedError(self._instead("list_orgs", _NO_ORGS))

    def add_org_member(
        self,
        *,
        org_id: Id | None = None,
        slug: str | None = None,
        user_id: Id,
        role: str = "member",
    ) -> OrgMemberInfo:
        """Make a user a member of an organization. An owner's call.

        Raises:
            OrgNotFoundError: There is no such organization.
            UserNotFoundError: There is no such user.
            MemberAlreadyExistsError: The user is a member already.
            ValueError: Both or neither of ``org_id`` and ``slug`` are given.
        """
        raise NotImplementedError(self._instead("add_org_member", _NO_ORGS))

    def update_org_member(
        self, *, org_id: Id | None = None, slug: str | None = None, user_id: Id, role: str
    ) -> OrgMemberInfo:
        """Give a member another role. An owner's call.

        Raises:
            OrgNotFoundError: There is no such organization.
            OrgMemberNotFoundError: The user is not a member.
            LastOwnerError: The organization would be left without an owner.
            ValueError: Both or neither of ``org_id`` and ``slug`` are given.
        """
        raise NotImplementedError(self._instead("update_org_member", _NO_ORGS))

    def remove_org_member(
        self, *, org_id: Id | None = None, slug: str | None = None, user_id: Id
    ) -> bool:
        """End a membership; ``False`` if there is no such organization or member.

        An owner's call, or the member's own.

        Raises:
            LastOwnerError: The organization would be left without an owner.
            ValueError: Both or neither of ``org_id`` and ``slug`` are given.
        """
        raise NotImplementedError(self._instead("remove_org_member", _NO_ORGS))

    def list_org_members(
        self,
        *,
        org_id: Id | None = None,
        slug: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[OrgMemberInfo]:
        """Return the members of an organization, the oldest first.

        Raises:
            OrgNotFoundError: There is no such organization.
            ValueError: Both or neither of ``org_id`` and ``slug`` are given, or ``limit`` or
                ``offset`` is negative.
        """
        raise NotImplementedError(self._instead("list_org_members", _NO_ORGS))

    def get_org_member(
        self, *, org_id: Id | None = None, slug: str | None = None, user_id: Id
    ) -> OrgMemberInfo:
        """Return one membership.

        Raises:
            OrgNotFoundError: There is no such organization.
            OrgMemberNotFoundError: The user is not a member.
            ValueError: Both or neither of ``org_id`` and ``slug`` are given.
        """
        raise NotImplementedError(self._instead("get_org_member", _NO_ORGS))

    def list_users_by_cursor(
        self, *, limit: int = 10, after: str | None = None
    ) -> CursorResult[UserInfo]:
        """Return a page of accounts, the newest first. An administrator's call.

        Args:
            limit: How many at most on a page, and never more than 1,000.
            after: The ``next_cursor`` of the page before.

        Raises:
            InvalidCursorError: ``after`` is no cursor of this list.
            ValueError: ``limit`` is not positive.
        """
        raise NotImplementedError(
            self._instead("list_users_by_cursor", "use list_users with limit and offset")
        )

    def list_sessions_by_cursor(
        self, *, user_id: Id, limit: int = 10, after: str | None = None
    ) -> CursorResult[Any]:
        """Return a page of a user's live sessions, the newest first.

        Args:
            user_id: Whose; must come from an authenticated session, or from an administrator.
            limit: How many at most on a page, and never more than 1,000.
            after: The ``next_cursor`` of the page before.

        Raises:
            InvalidCursorError: ``after`` is no cursor of this list.
            ValueError: ``limit`` is not positive.
        """
        raise NotImplementedError(
            self._instead("list_sessions_by_cursor", "use list_sessions with limit and offset")
        )

    def list_orgs_by_cursor(
        self, *, user_id: Id | None = None, limit: int = 10, after: str | None = None
    ) -> CursorResult[OrgInfo]:
        """Return a page of organizations, the newest first.

        Args:
            user_id: Only those that this user is a member of; with ``None`` all, which is an
                administrator's call.
            limit: How many at most on a page, and never more than 1,000.
            after: The ``next_cursor`` of the page before.

        Raises:
            InvalidCursorError: ``after`` is no cursor of this list.
            ValueError: ``limit`` is not positive.
        """
        raise NotImplementedError(
            self._instead("list_orgs_by_cursor", "use list_orgs with limit and offset")
        )

    def list_org_members_by_cursor(
        self,
        *,
        org_id: Id | None = None,
        slug: str | None = None,
        limit: int = 10,
        after: str | None = None,
    ) -> CursorResult[OrgMemberInfo]:
        """Return a page of an organization's members, the oldest first.

        Args:
            org_id: Which organization; or else
            slug: which one, by its slug.
            limit: How many at most on a page, and never more than 1,000.
            after: The ``next_cursor`` of the page before.

        Raises:
            OrgNotFoundError: There is no such organization.
            InvalidCursorError: ``after`` is no cursor of this list.
            ValueError: Both or neither of ``org_id`` and ``slug`` are given, or ``limit`` is not
                positive.
        """
        raise NotImplementedError(
            self._instead(
                "list_org_members_by_cursor", "use list_org_members with limit and offset"
            )
        )

    def set_active_org(
        self, *, session_id: Id, org_id: Id | None, refresh_token: str | None = None
    ) -> TokenPair:
        """Switch a session to an organization, and return tokens that say so.

        The pair holds the session's present refresh token: who can choose ``session_id`` takes that
        session over. It must come from an authenticated session, never from user input.

        Args:
            session_id: From ``authenticate(...).session_id``.
            org_id: The organization; ``None`` leaves the present one.
            refresh_token: The session's, which hosted backends need to make a new pair.

        Raises:
            OrgMemberNotFoundError: The user is not a member of the organization.
            InvalidTokenError: The session has ended, or its user is disabled.
        """
        raise NotImplementedError(self._instead("set_active_org", _NO_ORGS))

    def is_org_authorized(self, session: SessionInfo, org_id: Id | None, *roles: str) -> bool:
        """Tell whether the session has this organization active, with one of *roles* in it."""
        return self.is_same_org(session, org_id) and session.org_role in roles

    def is_same_org(self, session: SessionInfo, org_id: Id | None) -> bool:
        """Tell whether the session has this organization active, whatever the role in it.

        A session without an organization, and a resource without one, match nothing.
        """
        return session.org_id is not None and org_id is not None and session.org_id == str(org_id)

    def assert_same_org(self, session: SessionInfo, org_id: Id | None) -> None:
        """Refuse a session that has another organization active than a resource belongs to.

        One line at the top of a view keeps tenants apart::

            auth.assert_same_org(session, document.org_id)

        Raises:
            OrgMismatchError: The session has another organization active, or none.
        """
        if not self.is_same_org(session, org_id):
            raise OrgMismatchError

    def _instead(self, method: str, advice: str) -> str:
        return f"{type(self).__name__} does not offer {method}: {advice}"


_NO_ORGS = "keep organizations in the application's own tables, or use a backend that has them"
