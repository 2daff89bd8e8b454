"""Accounts and organizations in a WorkOS environment."""

from __future__ import annotations

import contextlib
import functools
import logging
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ._addresses import normalize_email
from ._clock import Clock, utc_now
from ._jwks import unverified_claims
from ._keys import KeyRing
from ._local.events import Events
from ._local.mailbox import CONFIRMATION, HOSTED_LIFETIMES, MAGIC_LINK, RECOVERY, Mailbox
from ._local.oauth_flows import NOT_GIVEN, Flow, OAuthFlows
from ._local.org_fields import OWNER, as_member_role, org_changes
from ._local.outbox import Outbox
from ._local.profiles import ADMIN_FIELDS, DEFAULT_ROLE, profile_changes
from ._local.throttle import Throttle
from ._mail.links import check_link
from ._migrations import migrate
from ._pages import bounds, page_size
from ._request import UNKNOWN, Caller, bearer_token, caller_of
from ._workos import errors, links
from ._workos.accounts import USERS, Accounts
from ._workos.api import WorkOS, as_key, user_path
from ._workos.founding import Founding
from ._workos.lists import Lists
from ._workos.mail import CodeMail
from ._workos.mapping import (
    Member,
    Roles,
    access_claims_of,
    is_live,
    listed_session,
    session_info,
    token_pair,
    user_info,
)
from ._workos.members import Members
from ._workos.orgs import Orgs, which
from ._workos.recent import Recent
from ._workos.steps import MAGIC_AUTH, answer_to
from ._workos.tokens import AccessTokens
from .base import BaseAuthClient
from .config import ThrottleConfig, WorkOSConfig
from .exceptions import (
    AuthBackendError,
    AuthNotConnectedError,
    ConfigError,
    InvalidCredentialsError,
    InvalidEmailError,
    InvalidTokenError,
    LastOwnerError,
    OrgMemberNotFoundError,
    OrgNotFoundError,
    UserDisabledError,
    UserNotFoundError,
)
from .jwt import TokenPair
from .models import (
    AuthProvider,
    AuthRequest,
    AuthResult,
    CursorResult,
    Id,
    OAuthStart,
    OrgInfo,
    OrgMemberInfo,
    SessionInfo,
    UserInfo,
)
from .orm import DatabaseEngine
from .providers.pkce import challenge_s256

if TYPE_CHECKING:
    from .email import EmailClient
    from .kv.base import KVClient

__all__ = ["WorkOSAuthClient"]

_log = logging.getLogger(__name__)

_MAX_TOKEN = 4096
_NO_CODE = "none"
_NOBODY = "user_00000000000000000000000000"
"""An id that the service gives to nobody: it is the first of all, of the year 1970."""

_PROVIDERS: dict[str, str] = {
    AuthProvider.GOOGLE: "GoogleOAuth",
    AuthProvider.GITHUB: "GitHubOAuth",
}


class WorkOSAuthClient(BaseAuthClient):
    """Users, sessions, organizations and memberships are WorkOS' own; nothing is kept twice.

    Without an email client WorkOS mails: short codes, which :meth:`magic_link_token` and
    :meth:`confirmation_token` make into the tokens that the interface takes. With one this library
    mails links, as the native backend does; turn the environment's mails for magic auth and for
    resets off then. Proofs of an address that are asked for again stay the environment's.

    WorkOS may ask for a step in the middle of a sign-in. That is an
    :class:`~.exceptions.AuthStepRequiredError`, and :meth:`complete_step` goes on from it.

    What WorkOS has no place for (``username``, ``image_url``, ``role``, ``is_active``,
    ``is_superuser``) lies in the user's metadata, which no user can write; besides it ten pairs
    are all that metadata may hold. A user's role is in access tokens where the environment's JWT
    template has ``"user_role": "{{ user.metadata.role || 'default' }}"``.

    Access tokens are verified here. What was ended here is refused at once, for which the KV store
    keeps notes; elsewhere such tokens live until they expire. With a KV store guesses and mails are
    limited as the native backend's are, codes apart from passwords.

    Args:
        clock: Where time comes from; the engine and the KV store should have the same one.
        timeout: Seconds that a call to the service may last in all.
        mail_worker: Send mails in a thread. Without it they wait for :meth:`deliver_mail`.

    Raises:
        ConfigError: The extra ``workos`` is not installed, or ``base_url`` is neither https nor on
            this machine.
    """

    def __init__(
        self,
        config: WorkOSConfig,
        *,
        clock: Clock = utc_now,
        timeout: float = 20.0,
        mail_worker: bool = True,
    ) -> None:
        self._config = config
        self._clock = clock
        self._caller = functools.partial(caller_of, trusted_proxies=config.trusted_proxies)
        self._api = WorkOS(config, clock=clock, timeout=timeout)
        self._tokens = AccessTokens(self._api, issuers=config.issuers, clock=clock)
        self._roles = Roles(config.owner_role)
        self._keys = KeyRing(config.api_key)
        self._lists = Lists(self._api, self._keys)
        self._accounts = Accounts(self._api)
        self._orgs = Orgs(self._api, self._lists)
        self._automatic_mail = mail_worker
        self._kv_client: KVClient | None = None
        self._db: DatabaseEngine | None = None
        self._email_client: EmailClient | None = None
        self._mailbox: Mailbox | None = None
        self.set_kv(None)

    @property
    def config(self) -> WorkOSConfig:
        """The settings that the client was made with."""
        return self._config

    @property
    def email_client(self) -> EmailClient | None:
        """What mails are sent with; ``None`` where WorkOS sends them."""
        return self._email_client

    # Wiring

    def set_db(self, db: DatabaseEngine | None) -> None:
        """Set the database: this library's mails wait there, and limits that were hit are noted."""
        self._db = db
        self._wire_limits()
        self._wire_mail()

    def set_kv(self, kv: KVClient | None) -> None:
        """Set the KV store: sign-ins that were begun, and what ended lately."""
        self._kv_client = kv
        self._flows = OAuthFlows(kv, self._keys, clock=self._clock, prefix="derp:auth:workos")
        self._recent = Recent(kv, self._clock)
        self._members = Members(self._api, self._lists, self._roles, kv)
        self._founding = Founding(self._orgs, self._members, kv, self._keys, self._clock)
        self._wire_limits()

    def set_email(self, email_client: EmailClient | None) -> None:
        """Send mail through *email_client*; with ``None`` WorkOS sends it."""
        self._email_client = email_client
        self._wire_mail()

    def _wire_limits(self) -> None:
        self._throttle = Throttle(
            self._kv_client,
            self._keys,
            None if self._db is None else Events(self._db),
            ThrottleConfig.off() if self._kv_client is None else self._config.throttle,
            prefix="derp:auth:workos",
        )

    def _wire_mail(self) -> None:
        if self._mailbox is not None:
            self._mailbox.stop(0)
        self._mailbox = None
        if self._email_client is not None and self._db is not None:
            self._mailbox = Mailbox(
                Outbox(self._db, HOSTED_LIFETIMES),
                Events(self._db),
                self._email_client,
                CodeMail(self._api, self._accounts, self._keys),
                automatic=self._automatic_mail,
            )

    def connect(self) -> None:
        """Open database and KV store; the service is called when it is needed.

        Raises:
            AuthBackendError: The database or the KV store cannot be opened.
            AuthNotConnectedError: There is an email client, and no database for its mails.
            SchemaTooNewError: The database was made by a newer version.
        """
        if self._email_client is not None and self._db is None:
            raise AuthNotConnectedError("Mails wait in a database: call set_db() first")
        try:
            if self._db is not None:
                self._db.connect()
                migrate(self._db)
            if self._kv_client is not None:
                self._kv_client.connect()
            self._api.connect()
            if self._mailbox is not None:
                self._mailbox.resume()
        except BaseException:
            self.disconnect()
            raise

    def disconnect(self) -> None:
        """Close what ``connect`` opened; waits up to five seconds for mails to be sent."""
        if self._mailbox is not None:
            self._mailbox.stop()
        self._api.disconnect()
        if self._kv_client is not None:
            self._kv_client.disconnect()
        if self._db is not None:
            self._db.disconnect()

    # Users

    def get_user(self, user_id: Id) -> UserInfo:
        return user_info(self._accounts.get(user_id))

    def find_user(self, email: str) -> UserInfo | None:
        """Return the user with this address, or ``None``; an administrator's call.

        Whoever sees the answer learns who has an account.
        """
        try:
            user = self._accounts.by_email(normalize_email(email))
        except InvalidEmailError:
            return None
        return None if user is None else user_info(user)

    def list_users(self, *, limit: int | None = None, offset: int | None = None) -> list[UserInfo]:
        """Return users, newest first; those before *offset* are fetched, too."""
        return self._lists.some(USERS, user_info, errors={}, page=bounds(limit, offset))

    def list_users_by_cursor(
        self, *, limit: int = 10, after: str | None = None
    ) -> CursorResult[UserInfo]:
        """Return a page of users, newest first; *limit* is at most 100.

        Raises:
            InvalidCursorError: *after* is no cursor of this list.
        """
        return self._lists.by_cursor(
            USERS, user_info, errors={}, name="users", limit=limit, after=after
        )

    def count_users(self) -> int:
        """Return how many users there are: a call for every hundred, since WorkOS counts none."""
        return sum(1 for _ in self._lists.all(USERS, errors={}))

    def create_user(
        self,
        *,
        email: str,
        password: str | None = None,
        confirmed: bool = False,
        role: str = DEFAULT_ROLE,
        is_superuser: bool = False,
        **kwargs: Any,
    ) -> UserInfo:
        """Make an account on an administrator's word; no mail is sent and nobody is signed in.

        Args:
            password: Without one the account is entered by link or provider until one is set.
            confirmed: The administrator vouches for the address.
            **kwargs: first_name, last_name, username, image_url, metadata.

        Raises:
            InvalidEmailError: *email* is no address.
            EmailAlreadyExistsError: An account with this address exists.
            InvalidProfileError: A field is more than WorkOS keeps.
            PasswordValidationError: WorkOS refuses the password.
        """
        fields = {"role": role, "is_superuser": is_superuser, **kwargs}
        changes = profile_changes(fields, ADMIN_FIELDS - {"is_active"})
        more: dict[str, Any] = {"email_verified": confirmed}
        if password is not None:
            more["password"] = password
        return user_info(self._accounts.create(normalize_email(email), changes, **more))

    def update_user(self, *, user_id: Id, email: str | None = None, **kwargs: Any) -> UserInfo:
        """Change an account on an administrator's word.

        A changed address is unconfirmed again, and links that were mailed to the old one die; where
        WorkOS mails, one to a new password may live out its hour. Disabling ends the user's
        sessions, and keeps the user from signing in through this client; WorkOS itself knows no
        disabled users.

        Args:
            **kwargs: first_name, last_name, username, image_url, metadata, role, is_active,
                is_superuser.

        Raises:
            UserNotFoundError: There is no such user.
            InvalidEmailError: *email* is no address.
            EmailAlreadyExistsError: Somebody else has the address.
            InvalidProfileError: A field is more than WorkOS keeps.
        """
        changes = profile_changes(kwargs, ADMIN_FIELDS)
        if email is not None:
            changes["email"] = normalize_email(email)
        user = user_info(self._accounts.update(user_id, changes))
        if not user.is_active:
            self._recent.user_ended(user.id)
            self.sign_out_all(user.id)
        elif "is_active" in changes:
            self._recent.user_back(user.id)
        return user

    def set_password(self, *, user_id: Id, password: str) -> UserInfo:
        """Set a password on an administrator's word; every session of the user ends.

        Raises:
            UserNotFoundError: There is no such user.
            PasswordValidationError: WorkOS refuses the password.
        """
        user = user_info(self._accounts.set_password(user_id, password))
        self._recent.paid_password(user.id)
        self.sign_out_all(user.id)
        return user

    def delete_user(self, user_id: Id) -> bool:
        try:
            key = as_key(user_id, UserNotFoundError)
            members = self._members.of_user(key)
        except (UserNotFoundError, OrgNotFoundError):
            return False
        with self._members.holding([it.info.org_id for it in members if it.is_owner]):
            orphans = self._members.owned_alone(members)
            if orphans:
                raise LastOwnerError(orphans)
            existed = self._accounts.delete(key)
        self._recent.user_ended(key)
        return existed

    # Signing up and in

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
        """Register a user; ``tokens`` is ``None`` where the environment wants addresses proved.

        Args:
            confirmation_url: The page that confirms. With an email client the mail's link is this
                with ``token`` added; without either, WorkOS mails a code.
            **kwargs: first_name, last_name, username, image_url, metadata.

        Raises:
            InvalidEmailError: *email* is no address.
            PasswordValidationError: WorkOS refuses the password.
            EmailAlreadyExistsError: An account with this address exists.
            AuthStepRequiredError: The account was made, and WorkOS asks for a step.
            RateLimitedError: A limit, WorkOS' or that of sign-ups.
        """
        address = normalize_email(email)
        changes = profile_changes(kwargs)
        if confirmation_url is not None:
            check_link(confirmation_url)
        caller = self._caller(request, user_agent, ip_address)
        self._throttle.sign_up(caller)
        made = self._accounts.create(address, changes, password=password)
        try:
            answer = self._by_password(address, password, caller)
        except errors.EmailVerificationStep as step:
            if self._mailbox is not None and confirmation_url is not None:
                about = {"email_verification_id": step.details.get("email_verification_id")}
                self._mailbox.post(
                    CONFIRMATION,
                    address,
                    confirmation_url,
                    subject=confirmation_subject,
                    about=about,
                )
            return AuthResult(user=user_info(made), tokens=None)
        return self._entered(answer)

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
        """Sign in with email and password.

        Args:
            first_name: Filled in where the profile has none; likewise *last_name*.

        Raises:
            InvalidCredentialsError: Email or password did not match.
            AuthStepRequiredError: WorkOS asks for a step; for a proof of the address it is an
                EmailNotConfirmedError, too.
            UserDisabledError: The account is disabled.
            RateLimitedError: A limit, WorkOS' or that of sign-ins.
        """
        names = profile_changes({"first_name": first_name, "last_name": last_name})
        try:
            address = normalize_email(email)
        except InvalidEmailError:
            raise InvalidCredentialsError from None
        if not password:
            raise InvalidCredentialsError
        caller = self._caller(request, user_agent, ip_address)
        with self._throttle.guessing(self._throttle.sign_in(address, caller), caller):
            answer = self._by_password(address, password, caller)
        result = self._entered(answer)
        self._refuse_foreign_password(result)
        missing = {n: v for n, v in names.items() if v and not getattr(result.user, n)}
        if not missing:
            return result
        user = user_info(self._accounts.update(result.user.id, missing))
        return AuthResult(user=user, tokens=result.tokens)

    def complete_step(
        self,
        step: str,
        pending_token: str | None,
        *,
        code: str | None = None,
        org_id: Id | None = None,
        challenge_id: str | None = None,
        request: AuthRequest | None = None,
        user_agent: str | None = None,
        ip_address: str | None = None,
    ) -> AuthResult:
        """Go on with a sign-in that WorkOS asked for a step in.

        Another step may follow: it is raised in the same way.

        Args:
            step: The error's ``code``.
            pending_token: The error's; it is worth a sign-in, so keep it as you would a password.
            code: For ``email_verification_required``, the code of WorkOS' mail; for
                ``mfa_challenge``, that of the authenticator.
            org_id: For ``organization_selection_required``, one of ``details["organizations"]``.
            challenge_id: For ``mfa_challenge``, of the error's ``details``.

        Raises:
            InvalidTokenError: Code or pending token is wrong, over or spent.
            OrgMemberNotFoundError: The user is not a member of the organization.
            UserDisabledError: The account is disabled.
            RateLimitedError: A limit, WorkOS' or that of attempts.
            NotImplementedError: The step can be taken on WorkOS' own pages alone.
            ValueError: What the step needs was not given.
        """
        org = None if org_id is None else as_key(org_id, OrgMemberNotFoundError)
        grant, fields = answer_to(step, code=code, org_id=org, challenge_id=challenge_id)
        if pending_token is None or not _plausible(pending_token):
            raise InvalidTokenError
        caller = self._caller(request, user_agent, ip_address)
        self._throttle.step(pending_token, caller)
        with self._throttle.redeeming(caller):
            answer = self._api.authenticate(
                grant,
                errors=errors.STEP,
                caller=caller,
                pending_authentication_token=pending_token,
                **fields,
            )
        result = self._entered(answer)
        self._throttle.proved(result.user.email, caller)
        return result

    def sign_in_with_magic_link(
        self, *, email: str, magic_link_url: str, request: AuthRequest | None = None
    ) -> None:
        """Mail a link, or WorkOS' code, that signs in once; a stranger gets an account by it.

        Args:
            magic_link_url: The page that calls :meth:`verify_magic_link`. Where WorkOS mails, it
                asks for the code, and :meth:`magic_link_token` makes the token.

        Raises:
            InvalidEmailError: *email* is no address, or its domain takes no mail.
            RateLimitedError: WorkOS' limit.
            ValueError: *magic_link_url* is no link that a mail may hold.
        """
        address = normalize_email(email)
        check_link(magic_link_url)
        caller = self._caller(request)
        self._throttle.mail(caller)
        if self._mailbox is not None:
            self._mailbox.post_within(self._throttle, MAGIC_LINK, address, magic_link_url)
            return
        body = {"email": address, "ip_address": caller.ip_address, "user_agent": caller.user_agent}
        self._ask(
            "/magic_auth", {n: v for n, v in body.items() if v is not None}, errors.MAGIC_AUTH
        )

    def magic_link_token(self, *, email: str, code: str) -> str:
        """Return the token for :meth:`verify_magic_link`, of a code that WorkOS mailed.

        Raises:
            InvalidEmailError: *email* is no address.
        """
        return links.join(links.ENTER, normalize_email(email), code.strip())

    def verify_magic_link(
        self, token: str, *, user_agent: str | None = None, ip_address: str | None = None
    ) -> AuthResult:
        """Begin a session with the token of a magic link, which is spent by it.

        The link proves its address. An account whose address had not been proved loses the
        password and the sessions that somebody else may have given it.

        Raises:
            InvalidTokenError: The token is unknown, expired or spent, or its account is disabled.
            RateLimitedError: A limit, WorkOS' or that of attempts.
        """
        email, code = links.split(links.ENTER, token)
        caller = self._caller(None, user_agent, ip_address)
        with self._throttle.guessing(self._throttle.code(email, caller), caller):
            known = self._accounts.by_email(email)
            if known is None:
                # Asking for a link makes an account, so that this was an address of before. There
                # are as many calls: time does not tell who has one.
                code = _NO_CODE
            with self._first_proof(known) as is_first:
                answer = self._api.authenticate(
                    MAGIC_AUTH, errors=errors.REDEEM, caller=caller, code=code, email=email
                )
        self._throttle.proved(email, caller)
        result = self._entered(answer, disabled=InvalidTokenError)
        if is_first or self._recent.owes_password(result.user.id):
            self._take_over(result)
        return result

    def get_oauth_authorization_url(
        self,
        provider: str | AuthProvider,
        state: str,
        scopes: list[str] | None = None,
        redirect_uri: str | None = None,
    ) -> str:
        """Return the URL to send the browser to, for a caller who guards *state* alone.

        :meth:`start_oauth` does more: state and PKCE are made, kept and checked.

        Args:
            provider: ``google``, ``github``, ``authkit`` for WorkOS' own pages, or what WorkOS
                calls another one (``MicrosoftOAuth``).

        Raises:
            ValueError: There is no *redirect_uri*, no *state*, or *provider* cannot be one.
        """
        return self._authorize(provider, state, scopes, redirect_uri)

    def start_oauth(
        self,
        provider: str | AuthProvider,
        *,
        redirect_uri: str | None = None,
        scopes: list[str] | None = None,
    ) -> OAuthStart:
        """Begin a sign-in at a provider; it is to be finished within ten minutes.

        Args:
            provider: As for :meth:`get_oauth_authorization_url`.

        Raises:
            ValueError: There is no *redirect_uri*, or *provider* cannot be one.
            AuthBackendError: The KV store failed.
        """
        target = self._redirect_uri(redirect_uri)
        name = _provider(provider)
        state, binding = self._flows.begin(name, redirect_uri=redirect_uri, user_id=None)
        challenge = challenge_s256(self._flows.verifier(state))
        url = self._authorize(provider, state, scopes, target, challenge)
        return OAuthStart(url=url, state=state, binding=binding)

    def sign_in_with_oauth(
        self,
        provider: str | AuthProvider,
        code: str,
        *,
        redirect_uri: str | None = None,
        user_agent: str | None = None,
        ip_address: str | None = None,
        request: AuthRequest | None = None,
        state: str | None = NOT_GIVEN,
        binding: str | None = NOT_GIVEN,
    ) -> AuthResult:
        """Finish a sign-in at a provider; who comes for the first time gets an account.

        Args:
            code: From the callback, like *state*.
            state: Redeems what :meth:`start_oauth` began. Once this keyword is given, an empty or
                missing value is a refusal. Left out, the caller guards the state.
            binding: The secret of :class:`~.models.OAuthStart` from the browser's cookie; given
                likewise.

        Raises:
            InvalidCredentialsError: The state or the code was refused.
            AuthStepRequiredError: WorkOS asks for a step.
            UserDisabledError: The account is disabled.
            SignupDisabledError: There is no account, and the environment takes no new users.
            AuthBackendError: The service or the KV store failed.
        """
        flow = self._ended_flow(_provider(provider), state, binding)
        if not _plausible(code):
            raise InvalidCredentialsError("This sign-in was refused: begin again")
        answer = self._api.authenticate(
            "authorization_code",
            errors=errors.EXCHANGE,
            caller=self._caller(request, user_agent, ip_address),
            code=code,
            code_verifier=None if flow is None or state is None else self._flows.verifier(state),
        )
        return self._entered(answer)

    # Links that are mailed

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
            recovery_url: The page that calls :meth:`reset_password`. Where WorkOS mails, the link
                is the one of its dashboard.
            **kwargs: Variables for the mail's template, where this library mails.

        Raises:
            InvalidEmailError: *email* is no address.
            RateLimitedError: WorkOS' limit.
            ValueError: *recovery_url* is no link that a mail may hold.
        """
        address = normalize_email(email)
        check_link(recovery_url)
        self._throttle.mail(self._caller(request))
        if self._mailbox is None:
            self._ask("/password_reset", {"email": address}, errors.RECOVER)
            return
        self._mailbox.post_within(
            self._throttle,
            RECOVERY,
            address,
            recovery_url,
            subject=recovery_subject,
            variables=kwargs,
        )

    def reset_password(self, token: str, new_password: str) -> UserInfo:
        """Set a new password with the token of a recovery link, which is spent by it.

        Proves the address. All sessions of the user end, and nobody is signed in.

        Raises:
            InvalidTokenError: The token is unknown, expired or spent.
            PasswordValidationError: WorkOS refuses the password; the token stays good.
        """
        if not _plausible(token):
            raise InvalidTokenError
        with self._throttle.redeeming(UNKNOWN):
            user_id = self._accounts.reset(self._still_good(token), new_password).get("id")
        self._recent.paid_password(str(user_id))
        self.sign_out_all(str(user_id))
        user = self.get_user(str(user_id))
        self._throttle.proved(user.email, UNKNOWN)
        return user

    def confirm_email(self, token: str) -> UserInfo:
        """Take an address for proved, with the token of a confirmation link, which is spent by it.

        Raises:
            InvalidTokenError: The token is unknown, expired or spent.
        """
        user_id, code = links.split(links.CONFIRM, token)
        with self._throttle.guessing(self._throttle.code(user_id, UNKNOWN), UNKNOWN):
            return user_info(self._accounts.confirm(user_id, code))

    def confirmation_token(self, *, user_id: Id, code: str) -> str:
        """Return the token for :meth:`confirm_email`, of a code that WorkOS mailed."""
        return links.join(links.CONFIRM, str(user_id), code.strip())

    def resend_confirmation_email(
        self,
        *,
        email: str,
        confirmation_url: str,
        confirmation_subject: str = "Confirm your email address",
        request: AuthRequest | None = None,
        **kwargs: Any,
    ) -> None:
        """Mail another proof of an address; one that needs none gets none.

        WorkOS shows such a code to nobody, so that this mail is its own, even with an email client.

        Args:
            confirmation_url: As for :meth:`sign_up`.
            **kwargs: Variables for the mail's template, where this library mails.

        Raises:
            InvalidEmailError: *email* is no address.
            ValueError: *confirmation_url* is no link that a mail may hold.
        """
        address = normalize_email(email)
        check_link(confirmation_url)
        self._throttle.mail(self._caller(request))
        if self._mailbox is not None:
            self._mailbox.post_within(
                self._throttle,
                CONFIRMATION,
                address,
                confirmation_url,
                subject=confirmation_subject,
                variables=kwargs,
            )
            return
        user = self._accounts.by_email(address)
        is_asked_for = user is not None and user.get("email_verified") is not True
        # For nobody there are as many calls: neither time nor a failure tells who has an account.
        key = str(user.get("id")) if user is not None and is_asked_for else _NOBODY
        with _nobody_told():
            self._accounts.send_confirmation(key)

    def deliver_mail(self, *, timeout: float | None = None) -> int:
        """Send what waits, now and in the caller's thread; return how many mails were taken.

        Raises:
            ConfigError: WorkOS mails, not this library.
        """
        if self._mailbox is None:
            raise ConfigError("No mail can be sent here: call set_email(), or let WorkOS mail")
        return self._mailbox.deliver(timeout)

    # Sessions and tokens

    def authenticate(self, request: AuthRequest) -> SessionInfo | None:
        """Return the session that *request* carries a valid access token of, else ``None``.

        The token is verified here. Sessions and users that were ended here are refused at once;
        the role in an organization is the token's, and after a change that was made here WorkOS is
        asked for it.

        Raises:
            AuthBackendError: The keys, or what was asked for, cannot be had.
        """
        self._api.require_open()
        token = bearer_token(request)
        claims = None if token is None else self._tokens.verify(token)
        if claims is None or self._recent.is_over(claims["sid"], claims["sub"]):
            return None
        return self._with_present_role(session_info(claims, self._roles))

    def refresh_token(self, refresh_token: str, *, request: AuthRequest | None = None) -> TokenPair:
        """Exchange a refresh token for a new pair; the old one is spent.

        A session that was ended here gets none, even where the service missed its end.

        Raises:
            InvalidTokenError: The token is unknown, expired or spent, or its session has ended.
            AuthStepRequiredError: WorkOS asks for a step.
        """
        return self._refreshed(refresh_token, self._caller(request))

    def set_active_org(
        self, *, session_id: Id, org_id: Id | None, refresh_token: str | None = None
    ) -> TokenPair:
        """Switch a session to an organization, and return a new pair that says so.

        ``session_id`` must come from an authenticated session, never from user input.

        Args:
            refresh_token: The session's; it is spent by a refresh, and decides which session it is.

        Raises:
            OrgMemberNotFoundError: The user is not a member of the organization.
            OrgNotFoundError: There is no such organization.
            InvalidTokenError: The session has ended.
            AuthStepRequiredError: The organization wants another way to sign in.
            NotImplementedError: *refresh_token* was left out; or *org_id* is ``None``, since
                WorkOS lets a session leave its organization by signing in anew alone.
        """
        if org_id is None:
            raise NotImplementedError(
                "WorkOS lets no session leave its organization: sign in again, or switch to another"
            )
        if refresh_token is None:
            raise NotImplementedError(
                "WorkOS makes no tokens for a session from its id: pass refresh_token="
            )
        org = as_key(org_id, OrgMemberNotFoundError)
        return self._refreshed(refresh_token, UNKNOWN, organization_id=org)

    def list_sessions(
        self, *, user_id: Id | None = None, limit: int | None = None, offset: int | None = None
    ) -> list[SessionInfo]:
        """Return live sessions of a user, newest first; roles are not told.

        Raises:
            NotImplementedError: *user_id* was left out.
        """
        page = bounds(limit, offset)
        if user_id is None:
            raise NotImplementedError("WorkOS lists the sessions of one user alone: pass user_id=")
        try:
            path = user_path(user_id, "sessions", not_found=UserNotFoundError)
            return self._lists.some(
                path, listed_session, errors=errors.USER, keep=is_live, page=page
            )
        except UserNotFoundError:
            return []

    def list_sessions_by_cursor(
        self, *, user_id: Id, limit: int = 10, after: str | None = None
    ) -> CursorResult[SessionInfo]:
        """Return a page of a user's live sessions, newest first; *limit* is at most 100.

        Raises:
            InvalidCursorError: *after* is no cursor of this list.
        """
        size = page_size(limit)
        try:
            return self._lists.by_cursor(
                user_path(user_id, "sessions", not_found=UserNotFoundError),
                listed_session,
                errors=errors.USER,
                name=f"sessions:{user_id}",
                limit=size,
                after=after,
                keep=is_live,
            )
        except UserNotFoundError:
            return CursorResult(has_more=False)

    def sign_out(self, session_id: Id) -> None:
        """End a session; one that has ended already is fine.

        Neither the KV store nor the service keeps the other from being told.
        """
        try:
            key = as_key(session_id, errors.EndedError)
        except errors.EndedError:
            return
        try:
            self._recent.session_ended(key)
        finally:
            self._revoke(key)

    def sign_out_all(self, user_id: Id) -> None:
        """End every session of a user, the one at hand included; a call for each.

        Sessions that the service could not be told of end when they are refreshed.
        """
        whose = str(user_id)
        try:
            self._recent.end_sessions(whose)
        finally:
            self._end_sessions(user_id)
        self._recent.sessions_ended(whose)

    def purge(self) -> int:
        """Remove what is over from the KV store; return how many records."""
        return 0 if self._kv_client is None else self._kv_client.purge()

    # Organizations

    def create_org(self, *, name: str, slug: str, creator_id: Id, **kwargs: Any) -> OrgInfo:
        """Make an organization, whose creator becomes its first owner.

        WorkOS takes two calls for it. After a failure between them the same call by the same
        creator finishes what was begun, for a day and with a KV store.

        Args:
            name: 1 to 255 characters; blanks around it are dropped.
            slug: Unique; 1 to 63 lower-case letters, digits or hyphens. WorkOS' external id.
            creator_id: Must come from an authenticated session, or from an administrator.
            **kwargs: ``metadata``, a JSON object; ten pairs at most.

        Raises:
            OrgSlugConflictError: The slug is taken.
            UserNotFoundError: There is no such creator.
            InvalidProfileError: A field cannot be kept, or WorkOS has no role for owners.
        """
        fields = org_changes({"name": name, "slug": slug, **kwargs})
        creator = self.get_user(creator_id).id
        return self._founding.found(fields, creator)

    def get_org(self, *, org_id: Id | None = None, slug: str | None = None) -> OrgInfo:
        return self._orgs.info(which(org_id, slug))

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
            **kwargs: ``metadata``, a JSON object; ten pairs at most.

        Raises:
            OrgNotFoundError: There is none.
            OrgSlugConflictError: The new slug is taken.
            InvalidProfileError: Name, slug or metadata hold what cannot be kept.
            ValueError: Both or neither of ``org_id`` and ``org_slug`` are given.
        """
        chosen = which(org_id, org_slug, "org_slug")
        texts = {"name": name, "slug": slug}
        changes = org_changes({**{k: v for k, v in texts.items() if v is not None}, **kwargs})
        return self._orgs.update(chosen, changes)

    def delete_org(self, *, org_id: Id | None = None, slug: str | None = None) -> bool:
        try:
            key = self._orgs.key(which(org_id, slug))
        except OrgNotFoundError:
            return False
        existed = self._orgs.delete(key)
        self._recent.org_changed(key)
        return existed

    def list_orgs(
        self, *, user_id: Id | None = None, limit: int | None = None, offset: int | None = None
    ) -> list[OrgInfo]:
        """Return organizations, the newest first.

        Args:
            user_id: Only those that this user is a member of, a call for each; with ``None`` all,
                which is an administrator's call.
            limit: How many at most; all if left out.
            offset: How many to pass over.
        """
        page = bounds(limit, offset)
        if user_id is None:
            return self._orgs.some(page)
        first = page["offset"]
        return list(self._orgs.known(self._orgs_of(user_id)[first : first + page["limit"]]))

    def list_orgs_by_cursor(
        self, *, user_id: Id | None = None, limit: int = 10, after: str | None = None
    ) -> CursorResult[OrgInfo]:
        """Return a page of organizations, the newest first; *limit* is at most 100.

        Args:
            user_id: As for :meth:`list_orgs`.

        Raises:
            InvalidCursorError: *after* is no cursor of this list.
        """
        if user_id is None:
            return self._orgs.page(limit, after)
        size, name = page_size(limit), f"orgs:{user_id}"
        start = self._lists.open(name, after)
        following = [it for it in self._orgs_of(user_id) if start is None or it < start]
        chosen, more = following[:size], len(following) > size
        return CursorResult(
            data=list(self._orgs.known(chosen)),
            has_more=more,
            next_cursor=self._lists.seal(name, chosen[-1]) if more else None,
        )

    # Members

    def add_org_member(
        self,
        *,
        org_id: Id | None = None,
        slug: str | None = None,
        user_id: Id,
        role: str = "member",
    ) -> OrgMemberInfo:
        """Make a user a member of an organization. An owner's call.

        Args:
            role: One that the environment has.

        Raises:
            OrgNotFoundError: There is no such organization.
            UserNotFoundError: There is no such user.
            MemberAlreadyExistsError: The user is a member already.
            InvalidProfileError: WorkOS has no such role.
            ValueError: Both or neither of ``org_id`` and ``slug`` are given.
        """
        chosen, role = which(org_id, slug), as_member_role(role)
        user = self.get_user(user_id).id
        member = self._members.add(self._orgs.key(chosen), user, role)
        self._recent.org_changed(member.org_id, user)
        return member

    def update_org_member(
        self, *, org_id: Id | None = None, slug: str | None = None, user_id: Id, role: str
    ) -> OrgMemberInfo:
        """Give a member another role. An owner's call.

        Raises:
            OrgNotFoundError: There is no such organization.
            OrgMemberNotFoundError: The user is not a member.
            LastOwnerError: The organization would be left without an owner.
            InvalidProfileError: WorkOS has no such role.
            ValueError: Both or neither of ``org_id`` and ``slug`` are given.
        """
        chosen, role = which(org_id, slug), as_member_role(role)
        key = self._orgs.key(chosen)
        with self._members.holding([key]):
            member = self._member(key, user_id)
            if role != OWNER:
                self._members.keep_owner(member)
            changed = self._members.set_role(member, role)
        self._recent.org_changed(key, changed.user_id)
        return changed

    def remove_org_member(
        self, *, org_id: Id | None = None, slug: str | None = None, user_id: Id
    ) -> bool:
        """End a membership; ``False`` if there is no such organization or member.

        An owner's call, or the member's own. Sessions of the user that had the organization active
        go on without one.

        Raises:
            LastOwnerError: The organization would be left without an owner.
            ValueError: Both or neither of ``org_id`` and ``slug`` are given.
        """
        try:
            key = self._orgs.key(which(org_id, slug))
            with self._members.holding([key]):
                member = self._members.find(key, user_id)
                if member is None:
                    return False
                self._members.keep_owner(member)
                removed = self._members.remove(member)
        except (OrgNotFoundError, OrgMemberNotFoundError):
            return False
        self._recent.org_changed(key, member.info.user_id)
        return removed

    def get_org_member(
        self, *, org_id: Id | None = None, slug: str | None = None, user_id: Id
    ) -> OrgMemberInfo:
        return self._member(self._orgs.key(which(org_id, slug)), user_id).info

    def list_org_members(
        self,
        *,
        org_id: Id | None = None,
        slug: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[OrgMemberInfo]:
        chosen, page = which(org_id, slug), bounds(limit, offset)
        key = self._orgs.key(chosen)
        return self._members.some(key, page) or self._none_of(key)

    def list_org_members_by_cursor(
        self,
        *,
        org_id: Id | None = None,
        slug: str | None = None,
        limit: int = 10,
        after: str | None = None,
    ) -> CursorResult[OrgMemberInfo]:
        """Return a page of an organization's members, the oldest first; *limit* is at most 100.

        Args:
            org_id: Which organization; or else
            slug: which one, by its slug.
            limit: How many at most on a page.
            after: The ``next_cursor`` of the page before.

        Raises:
            OrgNotFoundError: There is no such organization.
            InvalidCursorError: *after* is no cursor of this list.
            ValueError: Both or neither of ``org_id`` and ``slug`` are given.
        """
        chosen, size = which(org_id, slug), page_size(limit)
        key = self._orgs.key(chosen)
        page = self._members.page(key, size, after)
        if not page.data:
            self._none_of(key)
        return page

    # Steps

    def _by_password(self, address: str, password: str, caller: Caller) -> dict[str, Any]:
        return self._api.authenticate(
            "password", errors=errors.PASSWORD, caller=caller, email=address, password=password
        )

    def _entered(
        self,
        answer: Mapping[str, Any],
        disabled: type[UserDisabledError | InvalidTokenError] = UserDisabledError,
    ) -> AuthResult:
        """Return tokens and user of an answer; the user is read, since answers lack metadata."""
        claims = self._claims(answer)
        tokens = token_pair(answer, claims, self._clock())
        try:
            user = self.get_user(claims["sub"])
        except UserNotFoundError:  # deleted at this very moment
            raise disabled from None
        if not user.is_active:
            self.sign_out(claims["sid"])
            raise disabled
        return AuthResult(user=user, tokens=tokens)

    def _refreshed(self, refresh_token: str, caller: Caller, **fields: str) -> TokenPair:
        if not _plausible(refresh_token):
            raise InvalidTokenError
        answer = self._api.authenticate(
            "refresh_token",
            errors=errors.REFRESH,
            caller=caller,
            refresh_token=refresh_token,
            **fields,
        )
        claims = self._claims(answer)
        self._refuse_ended(claims["sid"], claims["sub"])
        return token_pair(answer, claims, self._clock())

    def _refuse_ended(self, session_id: str, user_id: str) -> None:
        """Refuse a session that was ended here while the service could not be told; tell it now."""
        try:
            before = self._recent.sessions_to_end(user_id)
            is_over = before is None and self._recent.is_over(session_id, user_id)
        except AuthBackendError:
            # The old token is spent: the new ones must not be lost, and authenticate looks again.
            return
        if before is not None:
            self._end_sessions(user_id, before=before)
            self._recent.sessions_ended(user_id)
            is_over = self._recent.is_over(session_id, user_id)
        if not is_over:
            return
        try:
            self.sign_out(session_id)
        except AuthBackendError:
            _log.warning("a session that was ended here lives on at WorkOS")
        raise InvalidTokenError

    def _claims(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Return the claims of an answer's access token, which came over our own call."""
        token = answer.get("access_token")
        claims = unverified_claims(token) if isinstance(token, str) else {}
        if not access_claims_of(claims):
            raise AuthBackendError("WorkOS answered with something other than tokens")
        return claims

    def _take_over(self, result: AuthResult) -> None:
        """Drop what somebody may have set up over an address before its owner proved it.

        WorkOS cannot take a password away: one that nobody knows takes its place.
        """
        assert result.tokens is not None
        user_id = result.user.id
        self._recent.end_sessions(user_id)
        self._accounts.set_password(user_id, secrets.token_urlsafe(48))
        self._recent.paid_password(user_id)
        own = unverified_claims(result.tokens.access_token)["sid"]
        self._end_sessions(user_id, but=own)
        self._recent.sessions_ended(user_id)

    def _still_good(self, token: str) -> str:
        """Return the service's token of a recovery, unless its link went to an address of before.

        Where WorkOS mails, its link is not known to be one.

        Raises:
            InvalidTokenError: The account has another address now, or the link was not made here.
        """
        if self._mailbox is None:
            return token
        email, own = links.unbind(self._keys, token)
        if self._accounts.by_email(email) is None:
            raise InvalidTokenError
        return own

    @contextlib.contextmanager
    def _first_proof(self, user: Mapping[str, Any] | None) -> Iterator[bool]:
        """Tell whether what is redeemed within is the first proof of a user's address.

        Then the password may be somebody else's. That is written down first, so that neither a
        failure nor the end of this process lets it open anything before it is replaced.
        """
        if user is None or user.get("email_verified") is True:
            yield False
            return
        user_id = str(user.get("id"))
        self._recent.owe_password(user_id)
        try:
            yield True
        except InvalidTokenError:
            self._recent.paid_password(user_id)
            raise

    def _refuse_foreign_password(self, result: AuthResult) -> None:
        """Refuse a password that was to be replaced when something failed; replace it now."""
        user = result.user
        if user.email_confirmed_at is not None and self._recent.owes_password(user.id):
            self.set_password(user_id=user.id, password=secrets.token_urlsafe(48))
            raise InvalidCredentialsError

    def _revoke(self, session_id: str) -> None:
        path, body = "/user_management/sessions/revoke", {"session_id": session_id}
        try:
            self._api.call("POST", path, body, errors=errors.REVOKE)
        except errors.EndedError:
            _log.debug("the session had ended at WorkOS already")

    def _end_sessions(
        self, user_id: Id, *, but: str | None = None, before: datetime | None = None
    ) -> None:
        """End sessions, all for this client before the first at the service."""
        ended = [
            session.session_id
            for session in self.list_sessions(user_id=user_id)
            if session.session_id != but and _has_begun(session, before)
        ]
        try:
            for session_id in ended:
                self._recent.session_ended(session_id)
        finally:
            for session_id in ended:
                self._revoke(session_id)

    def _ask(self, path: str, body: dict[str, Any], table: errors.Table) -> None:
        with _nobody_told():
            self._accounts.ask(path, body, errors=table)

    def _redirect_uri(self, given: str | None) -> str:
        target = given or self._config.redirect_uri
        if not target:
            raise ValueError("redirect_uri is needed, here or in WorkOSConfig")
        return target

    def _authorize(
        self,
        provider: str | AuthProvider,
        state: str,
        scopes: list[str] | None,
        redirect_uri: str | None,
        challenge: str | None = None,
    ) -> str:
        if not state:
            raise ValueError("state must be an unguessable text")
        query = {
            "client_id": self._api.client_id,
            "redirect_uri": self._redirect_uri(redirect_uri),
            "response_type": "code",
            "provider": _provider(provider),
            "state": state,
        }
        if scopes:
            query["provider_scopes"] = ",".join(scopes)
        if challenge is not None:
            query |= {"code_challenge": challenge, "code_challenge_method": "S256"}
        return f"{self._api.url}/user_management/authorize?{urlencode(query)}"

    def _ended_flow(self, name: str, state: str | None, binding: str | None) -> Flow | None:
        """Spend the state; ``None`` for a caller who guards it alone."""
        if state is NOT_GIVEN:
            return None
        return self._flows.end(state, provider=name, binding=binding, user_id=None)

    def _with_present_role(self, session: SessionInfo) -> SessionInfo:
        """Return a session with the membership of now, where that may differ from its token's."""
        org_id = session.org_id
        if org_id is None:
            return session
        since = session.metadata.get("created_at", datetime.fromtimestamp(0, UTC))
        if not self._recent.may_be_stale(org_id, session.user_id, since):
            return session
        try:
            member = self._members.find(org_id, session.user_id)
        except (OrgNotFoundError, OrgMemberNotFoundError):
            member = None
        role = None if member is None else member.info.role
        return replace(session, org_id=None if member is None else org_id, org_role=role)

    def _orgs_of(self, user_id: Id) -> list[str]:
        """Return the ids of a user's organizations, newest first: WorkOS' ids begin with time."""
        try:
            members = self._members.of_user(as_key(user_id, UserNotFoundError))
        except (UserNotFoundError, OrgNotFoundError):
            return []
        return sorted((it.info.org_id for it in members), reverse=True)

    def _member(self, org_id: str, user_id: Id) -> Member:
        member = self._members.find(org_id, user_id)
        if member is None:
            self._none_of(org_id)
            raise OrgMemberNotFoundError
        return member

    def _none_of(self, org_id: str) -> list[OrgMemberInfo]:
        """Tell an organization without such members from one that is not there."""
        self._orgs.get((org_id, None))
        return []


@contextlib.contextmanager
def _nobody_told() -> Iterator[None]:
    """Keep from who asks for a mail that there is nobody to send it to."""
    try:
        yield
    except errors.NoSuchLinkError:
        _log.info("WorkOS sent no mail")


def _provider(provider: str | AuthProvider) -> str:
    """Return what WorkOS calls a provider.

    Raises:
        ValueError: It cannot be one.
    """
    name = str(provider)
    if not name.isalnum() or name in (AuthProvider.EMAIL, AuthProvider.MAGIC_LINK):
        raise ValueError(f"{name!r} is no provider")
    return _PROVIDERS.get(name, name)


def _has_begun(session: SessionInfo, before: datetime | None) -> bool:
    """Tell whether a session began before a moment; one that does not say when did."""
    begun = session.metadata.get("created_at")
    return before is None or begun is None or bool(begun <= before)


def _plausible(token: object) -> bool:
    """Tell whether a text can be a token of the service, so that it is worth a call."""
    return isinstance(token, str) and 0 < len(token) <= _MAX_TOKEN and token.isprintable()
