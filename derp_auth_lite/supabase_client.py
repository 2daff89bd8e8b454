"""Accounts in a Supabase project, organizations in the application's own database."""

from __future__ import annotations

import functools
import logging
import re
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ._addresses import normalize_email
from ._clock import Clock, utc_now
from ._http import Remembered
from ._keys import KeyRing
from ._local.events import Events
from ._local.housekeeping import Housekeeping
from ._local.mailbox import CONFIRMATION, HOSTED_LIFETIMES, MAGIC_LINK, RECOVERY, Mailbox
from ._local.oauth_flows import NOT_GIVEN
from ._local.orgs import LocalOrgAuthClient
from ._local.outbox import Outbox
from ._local.profiles import ADMIN_FIELDS, DEFAULT_ROLE, profile_changes
from ._local.throttle import Throttle
from ._mail.links import check_link
from ._migrations import migrate
from ._pages import Cursors, bounds
from ._records import as_id
from ._request import UNKNOWN, bearer_token, caller_of
from ._supabase import errors
from ._supabase.accounts import Accounts
from ._supabase.api import GoTrue
from ._supabase.flows import MAIL, OAUTH, Flows, new_state, with_state
from ._supabase.logout import Logout
from ._supabase.mail import LinkMail, hashed_token
from ._supabase.mapping import (
    is_fake_user,
    is_first_proof,
    issued_at,
    session_info,
    session_of_token,
    token_pair,
    user_changes,
)
from ._supabase.sessions import KnownSession, RemoteSessions
from ._supabase.tokens import SupabaseTokens
from .config import SupabaseConfig, ThrottleConfig
from .exceptions import (
    AuthBackendError,
    AuthNotConnectedError,
    ConfigError,
    EmailAlreadyExistsError,
    InvalidCredentialsError,
    InvalidEmailError,
    InvalidTokenError,
    OrgMemberNotFoundError,
    PasswordValidationError,
    SignupDisabledError,
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
    SessionInfo,
    UserInfo,
)
from .orm import DatabaseEngine
from .password import check_password

if TYPE_CHECKING:
    from .email import EmailClient
    from .kv.base import KVClient

__all__ = ["SupabaseAuthClient"]

_log = logging.getLogger(__name__)

_MAX_PASSWORD_BYTES = 72  # bcrypt, which the service hashes with, reads no further
_MAX_TOKEN = 1024
_MAX_PASSWORD = 4096
_LONGEST_ID = 45
_PROVIDER = re.compile(r"[a-z][a-z0-9_:-]{0,62}")
_EVENTS_KEPT = timedelta(days=90)
_NO_LIST = "Supabase has no call that lists sessions: query auth.sessions in its database"


class SupabaseAuthClient(LocalOrgAuthClient):
    """Users, passwords and sessions are the project's; organizations lie in the database.

    Without an email client the project mails, with its own templates; every page that a mail or a
    provider links to must be on its list of redirect URLs, with a query (``https://app.test/in?*``),
    since a ``state`` is added to it. The page then gets ``code`` and ``state`` and gives both on:
    ``verify_magic_link(code, state=state)``. A template with ``{{ .TokenHash }}`` needs no state.
    With an email client this library mails, as the native backend does.

    What ends a session by its id is the legacy secret (``jwt_secret``), while the project takes it,
    or the session's own access token in place of the id. Access tokens of an ended session are
    refused at once by this client, and until they expire by nobody else. With a KV store guesses
    and mails are limited as the native backend's are: the project takes all of them for one caller.

    Args:
        clock: Where time comes from; the engine and the KV store should have the same one.
        timeout: Seconds that a call to the service may last in all.
        mail_worker: Send mails in a thread. Without it they wait for :meth:`deliver_mail`.

    Raises:
        ConfigError: The extra ``supabase`` is not installed.
    """

    def __init__(
        self,
        config: SupabaseConfig,
        *,
        clock: Clock = utc_now,
        timeout: float = 20.0,
        mail_worker: bool = True,
    ) -> None:
        self._config = config
        self._clock = clock
        self._caller = functools.partial(caller_of, trusted_proxies=config.trusted_proxies)
        self._api = GoTrue(config, clock=clock, timeout=timeout)
        self._accounts = Accounts(self._api, clock)
        self._logout = Logout(self._api)
        self._tokens = SupabaseTokens(
            self._api.http, issuer=self._api.url, secret=config.jwt_secret, clock=clock
        )
        self._settings = Remembered(self._api.settings, clock=clock)
        self._keys = KeyRing(config.service_role_key)
        self._cursors = Cursors(self._keys)
        self._automatic_mail = mail_worker
        self._kv_client: KVClient | None = None
        self._email_client: EmailClient | None = None
        self._mailbox: Mailbox | None = None
        self.set_db(None)
        self.set_kv(None)

    @property
    def config(self) -> SupabaseConfig:
        """The settings that the client was made with."""
        return self._config

    @property
    def email_client(self) -> EmailClient | None:
        """What mails are sent with; ``None``: the project sends them."""
        return self._email_client

    # Wiring

    def set_db(self, db: DatabaseEngine | None) -> None:
        """Set the application's database."""
        self._has_db = db is not None
        # Without one the stores stand on an engine that is never opened, and says so when used.
        self._db = db or DatabaseEngine(":memory:", clock=self._clock)
        self._sessions = RemoteSessions(self._db)
        self._events = Events(self._db)
        self._outbox = Outbox(self._db, HOSTED_LIFETIMES)
        old_events = functools.partial(self._events.purge, _EVENTS_KEPT)
        self._housekeeping = Housekeeping([self._sessions.purge, old_events, self._outbox.purge])
        self._use_org_stores(self._db)
        self._wire_limits()
        self._wire_mail()

    def set_kv(self, kv: KVClient | None) -> None:
        """Set the KV store, which holds limits and the sign-ins that were begun."""
        self._kv_client = kv
        self._flows = Flows(kv, self._keys)
        self._wire_limits()

    def set_email(self, email_client: EmailClient | None) -> None:
        """Send mail through *email_client*; with ``None`` the project sends it."""
        self._email_client = email_client
        self._wire_mail()

    def _wire_limits(self) -> None:
        self._throttle = Throttle(
            self._kv_client,
            self._keys,
            self._events,
            ThrottleConfig.off() if self._kv_client is None else self._config.throttle,
            prefix="derp:auth:supabase",
        )

    def _wire_mail(self) -> None:
        if self._mailbox is not None:
            self._mailbox.stop(0)
        self._mailbox = None
        if self._email_client is not None:
            self._mailbox = Mailbox(
                self._outbox,
                self._events,
                self._email_client,
                LinkMail(self._api, lambda: not self._setting("disable_signup")),
                automatic=self._automatic_mail,
            )

    def connect(self) -> None:
        """Open database and KV store; the service is called when it is needed.

        Raises:
            AuthBackendError: The database or the KV store cannot be opened.
            SchemaTooNewError: The database was made by a newer version.
        """
        if not self._has_db:
            raise AuthNotConnectedError("The auth client has no database: call set_db() first")
        try:
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
        self._db.disconnect()

    # Users

    def get_user(self, user_id: Id) -> UserInfo:
        return self._accounts.get(self._known_id(user_id))

    def list_users(self, *, limit: int | None = None, offset: int | None = None) -> list[UserInfo]:
        return self._accounts.list(**bounds(limit, offset))

    def count_users(self) -> int:
        return self._accounts.count()

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
            PasswordValidationError: The password does not meet the policy.
        """
        address = normalize_email(email)
        fields = {"role": role, "is_superuser": is_superuser, **kwargs}
        body = user_changes(profile_changes(fields, ADMIN_FIELDS - {"is_active"}))
        if password is not None:
            self._check_password(password, address)
            body["password"] = password
        return self._accounts.create(address, body, confirmed=confirmed)

    def update_user(self, *, user_id: Id, email: str | None = None, **kwargs: Any) -> UserInfo:
        """Change an account on an administrator's word.

        A changed address takes effect at once and counts as confirmed if the old one did: the
        service has no other way. Links that were mailed to the old one die. Disabling keeps the
        user from signing in and refreshing, and this client refuses the sessions that there were.
        A new role is in access tokens from the next refresh on.

        Args:
            **kwargs: first_name, last_name, username, image_url, metadata, role, is_active,
                is_superuser.

        Raises:
            UserNotFoundError: There is no such user.
            InvalidEmailError: *email* is no address.
            EmailAlreadyExistsError: Somebody else has the address.
        """
        changes = profile_changes(kwargs, ADMIN_FIELDS)
        if email is not None:
            changes["email"] = normalize_email(email)
        key = self._known_id(user_id)
        present = self._accounts.get(key).metadata if "metadata" in changes else None
        user = self._accounts.change(key, user_changes(changes, present))
        if email is not None:
            self._accounts.replace_links(user)
        if not user.is_active:
            self._sessions.end_all(key)
        return user

    def delete_user(self, user_id: Id) -> bool:
        key = as_id(user_id)
        if key is None:
            return False
        exists = self._accounts.exists(key)
        with self._db.transaction():
            self._leave_orgs(key)
            self._sessions.end_all(key)
        if not exists or not self._accounts.delete(key):
            return False
        self._events.record("user_deleted", user_id=key)
        return True

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
        """Register a user; ``tokens`` is ``None`` where the project wants addresses confirmed.

        Where the project mails, an address that has an unconfirmed account gets another mail, and
        that account is returned.

        Args:
            confirmation_url: The page that confirms. With an email client the mail's link is this
                with ``token`` added; without either, the project's own page does it.
            **kwargs: first_name, last_name, username, image_url, metadata.

        Raises:
            SignupDisabledError: The project takes no new users.
            InvalidEmailError: *email* is no address.
            PasswordValidationError: The password does not meet the policy, or has more than 72
                bytes.
            EmailAlreadyExistsError: An account with this address exists.
            RateLimitedError: A limit, the project's or that of sign-ups.
        """
        address = normalize_email(email)
        profile = user_changes(profile_changes(kwargs)).get("user_metadata", {})
        self._check_password(password, address)
        self._throttle.sign_up(self._caller(request, user_agent, ip_address))
        if self._mails_confirmation(confirmation_url):
            assert confirmation_url is not None
            return self._sign_up_by_own_mail(
                address, password, profile, confirmation_url, confirmation_subject
            )
        params, challenge = self._by_mail(CONFIRMATION, confirmation_url)
        body = {"email": address, "password": password, "data": profile, **challenge}
        answer = self._api.public("/signup", body, errors=errors.SIGN_UP, about=address, **params)
        if "access_token" in answer:
            return self._entered(answer)
        if is_fake_user(answer):
            raise EmailAlreadyExistsError(address)
        return AuthResult(user=self._accounts.info(answer), tokens=None)

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
            InvalidCredentialsError: Email or password did not match, or the account is disabled:
                which of them, Supabase tells without a look at the password, and this client not.
            EmailNotConfirmedError: The password is right, the address not yet confirmed.
            RateLimitedError: A limit, the project's or that of sign-ins.
        """
        names = profile_changes({"first_name": first_name, "last_name": last_name})
        try:
            address = normalize_email(email)
        except InvalidEmailError:
            raise InvalidCredentialsError from None
        if not 0 < len(password) <= _MAX_PASSWORD:
            raise InvalidCredentialsError
        caller = self._caller(request, user_agent, ip_address)
        body = {"email": address, "password": password}
        with self._throttle.guessing(self._throttle.sign_in(address, caller), caller):
            answer = self._api.public(
                "/token", body, errors=errors.PASSWORD, about=address, grant_type="password"
            )
        self._refuse_foreign_password(answer)
        result = self._entered(answer)
        missing = {n: v for n, v in names.items() if v and not getattr(result.user, n)}
        if not missing:
            return result
        user = self._accounts.change(result.user.id, user_changes(missing))
        return AuthResult(user=user, tokens=result.tokens)

    def sign_in_with_magic_link(
        self, *, email: str, magic_link_url: str, request: AuthRequest | None = None
    ) -> None:
        """Mail a link that signs in once; for an address without an account it makes one.

        It makes one only while the project takes new users; otherwise nobody is told.

        Args:
            magic_link_url: The page that calls :meth:`verify_magic_link`.

        Raises:
            InvalidEmailError: *email* is no address.
            RateLimitedError: The project's limit.
            ValueError: *magic_link_url* is no link that a mail may hold.
        """
        address = normalize_email(email)
        self._throttle.mail(self._caller(request))
        if self._mailbox is not None:
            self._mailbox.post_within(self._throttle, MAGIC_LINK, address, magic_link_url)
            return
        params, challenge = self._by_mail(MAGIC_LINK, magic_link_url)
        body = {"email": address, "create_user": True, "data": {}, **challenge}
        self._ask_for_mail("/otp", body, errors.OTP, params)

    def verify_magic_link(
        self,
        token: str,
        *,
        user_agent: str | None = None,
        ip_address: str | None = None,
        state: str | None = None,
    ) -> AuthResult:
        """Begin a session with the token of a magic link, which is spent by it.

        The link proves its address. An account whose address had not been proved loses the password
        and the sessions that somebody else may have given it: the service would keep them.

        Args:
            token: From the link; or, in a mail of the project's, the ``code`` of the callback.
            state: The ``state`` beside that code.

        Raises:
            InvalidTokenError: The token is unknown, expired or spent, or its account is disabled.
        """
        caller = self._caller(None, user_agent, ip_address)
        with self._throttle.redeeming(caller):
            answer = self._redeem(MAGIC_LINK, "email", token, state)
        user = self._accounts.info(answer.get("user"))
        self._throttle.proved(user.email, caller)
        if self._is_proved_now(user, state):
            answer = self._taken_over(user)
        return self._entered(answer)

    def get_oauth_authorization_url(
        self,
        provider: str | AuthProvider,
        state: str,
        scopes: list[str] | None = None,
        redirect_uri: str | None = None,
    ) -> str:
        """Return the URL to send the browser to.

        *state* comes back in the callback's query, which :meth:`sign_in_with_oauth` takes; keep it
        in the browser's session and compare it there, too.

        Raises:
            AuthBackendError: The KV store failed.
            ValueError: There is no *redirect_uri*, or *provider* or *state* cannot be one.
        """
        if not state:
            raise ValueError("state must be an unguessable text")
        return self._authorize(provider, state, scopes, redirect_uri)

    def start_oauth(
        self,
        provider: str | AuthProvider,
        *,
        redirect_uri: str | None = None,
        scopes: list[str] | None = None,
    ) -> OAuthStart:
        """Begin a sign-in at a provider; it is to be finished within ten minutes.

        Raises:
            AuthBackendError: The KV store failed.
            ValueError: There is no *redirect_uri*, or *provider* cannot be one.
        """
        state, binding = new_state(), new_state()
        url = self._authorize(provider, state, scopes, redirect_uri, binding)
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
            code: From the callback.
            state: From the callback too. By it the proof (PKCE) is found that goes with the code.
            binding: The secret of :class:`~.models.OAuthStart` from the browser's cookie. Once this
                keyword is given, an empty or missing value is a refusal. Left out, the caller holds
                the state against the browser's session.

        Raises:
            InvalidCredentialsError: The state is unknown, over, spent or another browser's; or the
                code was refused.
            UserDisabledError: The account is disabled.
            SignupDisabledError: There is no account, and the project takes no new users.
            AuthBackendError: The service or the KV store failed.
            NotImplementedError: *state* was left out.
        """
        if state is NOT_GIVEN:
            raise NotImplementedError(
                "Supabase redeems a code with the proof that its state leads to: pass state="
            )
        verifier = self._flows.end(OAUTH, str(provider), state, binding)
        if verifier is None or not _plausible(code):
            raise InvalidCredentialsError(
                "This sign-in was not begun here, or is over: begin again"
            )
        body = {"auth_code": code, "code_verifier": verifier}
        return self._entered(
            self._api.public("/token", body, errors=errors.EXCHANGE, grant_type="pkce")
        )

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
            recovery_url: The page that calls :meth:`reset_password`.
            **kwargs: Variables for the mail's template, where this library mails.

        Raises:
            InvalidEmailError: *email* is no address.
            ValueError: *recovery_url* is no link that a mail may hold.
        """
        address = normalize_email(email)
        self._throttle.mail(self._caller(request))
        if self._mailbox is not None:
            self._mailbox.post_within(
                self._throttle,
                RECOVERY,
                address,
                recovery_url,
                subject=recovery_subject,
                variables=kwargs,
            )
            return
        params, challenge = self._by_mail(RECOVERY, recovery_url)
        self._ask_for_mail("/recover", {"email": address, **challenge}, errors.RECOVER, params)

    def reset_password(
        self, token: str, new_password: str, *, state: str | None = None
    ) -> UserInfo:
        """Set a new password with the token of a recovery link, which is spent by it.

        All sessions of the user end, and nobody is signed in. The policy that is known here is
        checked first; a password that the project alone refuses has spent the link all the same.

        Args:
            token: As for :meth:`verify_magic_link`, like *state*.

        Raises:
            InvalidTokenError: The token is unknown, expired or spent, or its account is disabled.
            PasswordValidationError: The password does not meet the policy, has more than 72 bytes,
                or is the present one.
        """
        self._check_password(new_password)
        with self._throttle.redeeming(UNKNOWN):
            answer = self._redeem(RECOVERY, "recovery", token, state)
        tokens, user = token_pair(answer, self._clock()), self._accounts.info(answer.get("user"))
        self._is_proved_now(user, state)
        try:
            changed = self._api.as_user(
                "PUT",
                "/user",
                tokens.access_token,
                {"password": new_password},
                errors=errors.RESET,
            )
        except AuthBackendError:
            self._sessions.end_all(user.id)  # it may be done, and its answer lost
            raise
        finally:
            self._logout.abandon(tokens.access_token)
        self._sessions.end_all(user.id)
        self._sessions.paid_password(user.id)
        self._throttle.proved(user.email, UNKNOWN)
        return self._accounts.info(changed.json_object())

    def confirm_email(self, token: str, *, state: str | None = None) -> UserInfo:
        """Take an address for proved, with the token of a confirmation link, which is spent by it.

        Args:
            token: As for :meth:`verify_magic_link`, like *state*.

        Raises:
            InvalidTokenError: The token is unknown, expired or spent, or its account is disabled.
        """
        with self._throttle.redeeming(UNKNOWN):
            answer = self._redeem(CONFIRMATION, "email", token, state)
        tokens, user = token_pair(answer, self._clock()), self._accounts.info(answer.get("user"))
        self._sessions.keep_password(user.id)
        self._logout.abandon(tokens.access_token)
        return user

    def resend_confirmation_email(
        self,
        *,
        email: str,
        confirmation_url: str,
        confirmation_subject: str = "Confirm your email address",
        request: AuthRequest | None = None,
        **kwargs: Any,
    ) -> None:
        """Mail another confirmation link; an address that needs none gets none.

        Args:
            confirmation_url: As for :meth:`sign_up`. A mail of the project's has no ``code`` here:
                its template should link to the page with ``{{ .TokenHash }}``.
            **kwargs: Variables for the mail's template, where this library mails.

        Raises:
            InvalidEmailError: *email* is no address.
            RateLimitedError: The project's limit.
            ValueError: *confirmation_url* is no link that a mail may hold.
        """
        address = normalize_email(email)
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
        params = {"redirect_to": check_link(confirmation_url)}
        body = {"type": "signup", "email": address}
        self._ask_for_mail("/resend", body, errors.RESEND, params)

    def deliver_mail(self, *, timeout: float | None = None) -> int:
        """Send what waits, now and in the caller's thread; return how many mails were taken.

        Raises:
            ConfigError: The project mails, not this library.
        """
        if self._mailbox is None:
            raise ConfigError("No mail can be sent here: call set_email(), or let Supabase mail")
        return self._mailbox.deliver(timeout)

    # Sessions and tokens

    def authenticate(self, request: AuthRequest) -> SessionInfo | None:
        """Return the session that *request* carries a valid access token of, else ``None``.

        The token is verified here. Its role is that of the moment when it was made; sessions that
        were ended here are refused at once; the organization is the one that was set for the
        session, while the membership lasts.

        Raises:
            AuthBackendError: The database is down, or the project's keys cannot be had.
            ConfigError: The project signs with its legacy secret, and ``jwt_secret`` is empty.
        """
        token = bearer_token(request)
        claims = None if token is None else self._tokens.verify(token)
        if claims is None:
            return None
        user_id, session_id = as_id(claims["sub"]), as_id(claims["session_id"])
        if user_id is None or session_id is None:
            return None
        known = self._sessions.find(session_id)
        if known is None:
            if self._sessions.is_over(user_id, issued_at(claims)):
                return None
            self._sessions.note(session_id, user_id)
        elif known.ended or known.user_id != user_id:
            return None
        return session_info(claims, user_id, session_id, known and known.org)

    def refresh_token(self, refresh_token: str, *, request: AuthRequest | None = None) -> TokenPair:
        """Exchange a refresh token for a new pair; the old one is spent.

        Within the project's reuse interval the spent one is answered with the present pair; later
        it is taken for stolen, and its session ends. A session that was ended here gets none, even
        where the service missed its end.

        Raises:
            InvalidTokenError: The token is unknown, expired or spent, or its user disabled.
        """
        if not _plausible(refresh_token):
            raise InvalidTokenError
        try:
            answer = self._refreshed(refresh_token)
        except errors.ConflictError:
            answer = self._refreshed(refresh_token)
        tokens = token_pair(answer, self._clock())
        if self._noted(tokens, self._accounts.info(answer.get("user"))).ended:
            self._logout.abandon(tokens.access_token)
            raise InvalidTokenError
        return tokens

    def set_active_org(
        self, *, session_id: Id, org_id: Id | None, refresh_token: str | None = None
    ) -> TokenPair:
        """Switch a session to an organization, and return a new pair.

        The organization is kept in the database and looked up by :meth:`authenticate`: tokens do
        not say it. ``session_id`` must come from an authenticated session, never from user input.

        Args:
            org_id: The organization; ``None`` leaves the present one.
            refresh_token: The session's; it is spent by a refresh.

        Raises:
            OrgMemberNotFoundError: The user is not a member of the organization.
            InvalidTokenError: The session is not known here or has ended, or *refresh_token* is not
                its own, which is spent then all the same.
            NotImplementedError: *refresh_token* was left out.
        """
        if refresh_token is None:
            raise NotImplementedError(
                "Supabase makes no tokens for a session from its id: pass refresh_token="
            )
        key = as_id(session_id)
        known = None if key is None else self._sessions.find(key)
        if key is None or known is None or known.ended:
            raise InvalidTokenError
        if org_id is not None:
            self._require_member(org_id, known.user_id)
        tokens = self.refresh_token(refresh_token)
        if session_of_token(tokens.access_token) != key:
            raise InvalidTokenError
        with self._db.transaction():
            org = None if org_id is None else self._hold_member(org_id, known.user_id)
            if not self._sessions.set_org(key, known.user_id, org):
                raise InvalidTokenError
            self._events.record(
                "active_org_changed", user_id=known.user_id, session_id=key, details={"org_id": org}
            )
        return tokens

    def list_sessions(
        self, *, user_id: Id | None = None, limit: int | None = None, offset: int | None = None
    ) -> list[SessionInfo]:
        """Not offered: Supabase has no call that lists sessions.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(_NO_LIST)

    def list_sessions_by_cursor(
        self, *, user_id: Id, limit: int = 10, after: str | None = None
    ) -> CursorResult[SessionInfo]:
        """Not offered: Supabase has no call that lists sessions.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(_NO_LIST)

    def sign_out(self, session_id: Id) -> None:
        """End a session; one that has ended already is fine.

        With the legacy secret (``SupabaseConfig.jwt_secret``) an id is enough, of a session that
        this client began or authenticated. Without, give the session's access token in place of
        its id.

        Raises:
            InvalidTokenError: An access token was given that is no valid one: refresh it first, or
                its session would live on.
            ConfigError: The project does not take the legacy secret; here the session has ended.
            NotImplementedError: An id was given, and there is no legacy secret.
        """
        given = str(session_id)
        if given.count(".") == 2 and len(given) > _LONGEST_ID:
            claims = self._tokens.verify(given)
            if claims is None:
                raise InvalidTokenError
            try:
                self._end(claims["session_id"], claims["sub"], given)
            except errors.NotTakenError as error:
                raise InvalidTokenError from error
            return
        if not self._tokens.can_mint:
            raise NotImplementedError(
                "Supabase ends a session by its access token: pass that in place of the id, or set "
                "SupabaseConfig.jwt_secret"
            )
        key = as_id(given)
        known = None if key is None else self._sessions.find(key)
        if key is not None and known is not None:
            self._sessions.end(key)
            self._logout.end_by_secret(self._tokens.mint(known.user_id, key), "local")

    def sign_out_all(self, user_id: Id) -> None:
        """End every session of a user.

        With the legacy secret a token of a minute does it. Without, a magic link is made and
        redeemed here: no mail is sent, but links that are out die, and ``last_sign_in_at`` moves.

        Raises:
            ConfigError: The project does not take the legacy secret.
            NotImplementedError: There is no legacy secret, and a link will not do: the user is
                disabled, or the address unconfirmed, and a link would confirm it. This client
                refuses the sessions that there were all the same.
        """
        key = as_id(user_id)
        if key is None:
            return
        self._sessions.end_all(key)
        if self._tokens.can_mint:
            self._logout.end_by_secret(self._tokens.mint(key), "global")
            return
        try:
            user = self.get_user(key)
        except UserNotFoundError:
            return
        if user.last_sign_in_at is not None:
            self._sign_out_by_link(user)

    def purge(self) -> int:
        """Remove old events and mails, and what is known of old sessions; return how many rows.

        Sign-ins remove a few each time; call this from a nightly job where there are many.
        """
        removed = self._housekeeping.purge()
        return removed + (self._kv_client.purge() if self._kv_client is not None else 0)

    # What organizations ask for

    def _require_user(self, user_id: str) -> None:
        self.get_user(user_id)

    def _forget_active_org(self, org_id: str, user_id: str | None = None) -> None:
        self._sessions.forget_org(org_id, user_id)

    # Steps

    def _authorize(
        self,
        provider: str | AuthProvider,
        state: str,
        scopes: list[str] | None,
        redirect_uri: str | None,
        binding: str = "",
    ) -> str:
        name, target = str(provider), redirect_uri or self._config.redirect_uri
        if not _PROVIDER.fullmatch(name) or name in (AuthProvider.EMAIL, AuthProvider.MAGIC_LINK):
            raise ValueError(f"{name!r} is no provider")
        if not target:
            raise ValueError("redirect_uri is needed, here or in SupabaseConfig")
        query = {"provider": name, "redirect_to": with_state(target, state)}
        if scopes:
            query["scopes"] = " ".join(scopes)
        query |= _challenge(self._flows.begin(OAUTH, name, state, binding))
        return f"{self._api.url}/authorize?{urlencode(query)}"

    def _require_member(self, org_id: Id, user_id: str) -> None:
        key = as_id(org_id)
        if key is None or self._members.find(key, user_id) is None:
            raise OrgMemberNotFoundError

    def _check_password(self, password: str, *context: str) -> None:
        check_password(self._config.password, password, context=context)
        if len(password.encode()) > _MAX_PASSWORD_BYTES:
            raise PasswordValidationError(
                f"The password must have at most {_MAX_PASSWORD_BYTES} bytes as UTF-8"
            )

    def _setting(self, name: str) -> bool:
        return self._settings.get().get(name) is True

    def _mails_confirmation(self, confirmation_url: str | None) -> bool:
        """Tell whether this library confirms a new user's address: the project wants it done."""
        own = self._mailbox is not None and confirmation_url is not None
        return own and not self._setting("mailer_autoconfirm")

    def _sign_up_by_own_mail(
        self, address: str, password: str, profile: dict[str, Any], url: str, subject: str
    ) -> AuthResult:
        assert self._mailbox is not None
        check_link(url)
        if self._setting("disable_signup"):
            raise SignupDisabledError
        body = {"password": password, "user_metadata": profile}
        user = self._accounts.create(address, body, confirmed=False)
        self._mailbox.post(CONFIRMATION, address, url, subject=subject)
        return AuthResult(user=user, tokens=None)

    def _by_mail(self, kind: str, url: str | None) -> tuple[dict[str, str], dict[str, str]]:
        """Return the query and the part of the body that make a mail of the project lead here."""
        if url is None:
            return {}, {}
        target = check_link(url)
        if self._kv_client is None:
            return {"redirect_to": target}, {}
        state = new_state()
        challenge = self._flows.begin(MAIL, kind, state)
        return {"redirect_to": with_state(target, state)}, _challenge(challenge)

    def _ask_for_mail(
        self, path: str, body: dict[str, Any], table: errors.Table, params: dict[str, str]
    ) -> None:
        try:
            self._api.public(path, body, errors=table, **params)
        except errors.NoSuchLinkError:
            _log.info("Supabase sent no mail")

    def _redeem(self, kind: str, type_: str, token: str, state: str | None) -> dict[str, Any]:
        """Return the answer to a mailed token, or to the code of a PKCE callback."""
        if not _plausible(token):
            raise InvalidTokenError
        if state is None:
            body = {"type": type_, "token_hash": token}
            return self._api.public("/verify", body, errors=errors.SIGN_IN)
        verifier = self._flows.end(MAIL, kind, state)
        if verifier is None:
            raise InvalidTokenError
        body = {"auth_code": token, "code_verifier": verifier}
        return self._api.public("/token", body, errors=errors.SIGN_IN, grant_type="pkce")

    def _refreshed(self, refresh_token: str) -> dict[str, Any]:
        body = {"refresh_token": refresh_token}
        return self._api.public("/token", body, errors=errors.REFRESH, grant_type="refresh_token")

    def _entered(self, answer: Mapping[str, Any]) -> AuthResult:
        """Return the tokens of an answer with their user, and note whose the session is."""
        tokens, user = token_pair(answer, self._clock()), self._accounts.info(answer.get("user"))
        self._housekeeping.after_sign_in()
        self._noted(tokens, user)
        return AuthResult(user=user, tokens=tokens)

    def _noted(self, tokens: TokenPair, user: UserInfo) -> KnownSession:
        """Write down whose a session is; return what is known of it.

        Raises:
            AuthBackendError: The tokens name no session.
        """
        session_id = session_of_token(tokens.access_token)
        if session_id is None:
            raise AuthBackendError("Supabase answered with a token that names no session")
        self._sessions.note(session_id, user.id)
        return self._sessions.find(session_id) or KnownSession(user.id, ended=True, org=None)

    def _end(self, session_id: str, user_id: str, access_token: str) -> None:
        """End a session here, which holds even though the call fails, and at the service."""
        self._sessions.note(session_id, user_id)
        self._sessions.end(session_id)
        self._logout.end(access_token)

    def _is_proved_now(self, user: UserInfo, state: str | None) -> bool:
        """Tell whether a link's redemption was the first proof of its address.

        Then the password may be somebody else's. That is written down first, so that neither a
        failure nor the end of this process lets it open anything before it is replaced.
        """
        if is_first_proof(user, by_code=state is not None):
            self._sessions.owe_password(user.id)
        return self._sessions.owes_password(user.id)

    def _taken_over(self, user: UserInfo) -> dict[str, Any]:
        """Drop what was set up over an address before its owner proved it; begin a session anew."""
        self._replace_password(user.id)
        return self._entered_by_link(user.email)

    def _replace_password(self, user_id: str) -> None:
        """Put one that nobody knows into the place of a password, which ends all sessions."""
        self._sessions.end_all(user_id)
        self._accounts.change(user_id, {"password": f"aA1!{secrets.token_urlsafe(36)}"})
        self._sessions.paid_password(user_id)

    def _refuse_foreign_password(self, answer: Mapping[str, Any]) -> None:
        """Refuse a password that was to be replaced when something failed; replace it now."""
        user = self._accounts.info(answer.get("user"))
        if self._sessions.owes_password(user.id):
            self._replace_password(user.id)
            raise InvalidCredentialsError

    def _entered_by_link(self, email: str) -> dict[str, Any]:
        """Return the answer to a magic link that is made and redeemed here; no mail is sent."""
        body = {"type": "magiclink", "email": email}
        link = self._api.admin("POST", "/admin/generate_link", body, errors={}).json_object()
        return self._redeem(MAGIC_LINK, "email", hashed_token(link), None)

    def _sign_out_by_link(self, user: UserInfo) -> None:
        if user.email_confirmed_at is None or not user.is_active:
            raise NotImplementedError(
                "Supabase ends the sessions of a user by a link, which a disabled user cannot use "
                "and which would confirm an address: set SupabaseConfig.jwt_secret"
            )
        answer = self._entered_by_link(user.email)
        self._logout.end(token_pair(answer, self._clock()).access_token, "global")


def _challenge(challenge: str) -> dict[str, str]:
    return {"code_challenge": challenge, "code_challenge_method": "s256"}


def _plausible(token: object) -> bool:
    """Tell whether a text can be a token of the service, so that it is worth a call."""
    return isinstance(token, str) and 0 < len(token) <= _MAX_TOKEN and token.isprintable()
