"""Accounts in the application's own database: each method is a short recipe over the stores."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ._addresses import normalize_email
from ._clock import Clock, utc_now
from ._keys import KeyRing
from ._local.events import FAILURE, EventRecord, Events, Subscriber
from ._local.housekeeping import Housekeeping
from ._local.mailbox import Mailbox
from ._local.oauth_flows import NOT_GIVEN, OAuthFlows
from ._local.orgs import LocalOrgAuthClient
from ._local.outbox import Outbox
from ._local.profiles import ADMIN_FIELDS, DEFAULT_ROLE, profile_changes
from ._local.throttle import Throttle
from ._migrations import migrate
from ._native.accounts import Accounts
from ._native.doctor import Doctor
from ._native.explain import explain_sign_in
from ._native.identities import Identities
from ._native.mail import (
    ACCOUNT_EXISTS,
    CONFIRMATION,
    EMAIL_CHANGE,
    EMAIL_CHANGED,
    MAGIC_LINK,
    PASSWORD_CHANGED,
    RECOVERY,
    AccountMail,
    mail_lifetimes,
)
from ._native.mail_requests import MailRequests
from ._native.new_passwords import NewPasswords
from ._native.new_sessions import NewSessions
from ._native.oauth import Callback, OAuth, configured_providers
from ._native.one_time import OneTimeTokens
from ._native.password_check import PasswordCheck
from ._native.presented_links import PresentedLinks
from ._native.redemptions import Redemptions
from ._native.refresh_tokens import RefreshTokens
from ._native.refusals import Refusals
from ._native.session_cookies import SessionCookies
from ._native.sessions import Sessions
from ._native.sign_ins import SignIn, SignIns
from ._native.token_pairs import TokenPairs, session_of
from ._pages import FROM_NEWEST, Cursors, bounds
from ._records import SessionRecord, UserRecord, as_id
from ._request import UNKNOWN, Caller, bearer_token, caller_of, was_forwarded
from .config import NativeAuthConfig
from .exceptions import (
    AuthNotConnectedError,
    ConfirmationURLMissingError,
    InvalidCredentialsError,
    InvalidEmailError,
    InvalidTokenError,
    LastIdentityError,
    OrgMemberNotFoundError,
    RateLimitedError,
    SignupDisabledError,
    UserNotFoundError,
)
from .jwt import AccessTokens, TokenPair
from .models import (
    AuthProvider,
    AuthRequest,
    AuthResult,
    CursorResult,
    EventInfo,
    Finding,
    Id,
    IdentityInfo,
    OAuthStart,
    SessionInfo,
    UndeliveredMail,
    UserInfo,
)
from .orm import DatabaseEngine
from .password import Argon2Hasher, Breached, HaveIBeenPwned, PasswordHasher

if TYPE_CHECKING:
    from .email import EmailClient
    from .kv.base import KVClient
    from .providers import BaseOAuthProvider

__all__ = ["NativeAuthClient"]


class NativeAuthClient(LocalOrgAuthClient):
    """The backend that needs no service: SQLite or PostgreSQL, and a KV store.

    :func:`derp_auth_lite.open_auth` makes one with everything that it needs. By hand: give it a
    database, a KV store and an email client with ``set_db``, ``set_kv`` and ``set_email``, then use
    it in a ``with`` block.

    Args:
        clock: Where time comes from; the engine and the KV store should have the same one.
        hasher: Hashes passwords; by default Argon2id with the configured profile.
        breached: Tells whether a new password is known from a breach, in place of what
            ``PasswordConfig.breached`` switches on. What it raises counts as "not known".
        mail_worker: Send mails in a thread of this process. Without it they wait until somebody
            calls :meth:`deliver_mail`, such as a cron job or a test.
    """

    def __init__(
        self,
        config: NativeAuthConfig,
        *,
        clock: Clock = utc_now,
        hasher: PasswordHasher | None = None,
        breached: Breached | None = None,
        mail_worker: bool = True,
    ) -> None:
        jwt = config.jwt
        self._config = config
        self._clock = clock
        self._keys = KeyRing(jwt.secret, jwt.previous_secrets)
        self._access_tokens = AccessTokens(jwt, clock=clock)
        self._refresh_tokens = RefreshTokens(self._keys)
        self._tokens = TokenPairs(
            self._access_tokens,
            self._refresh_tokens,
            expires_in=jwt.access_token_expire_minutes * 60,
        )
        self._session_cookies = SessionCookies(self._keys)
        self._cursors = Cursors(self._keys)
        self._hasher = hasher or Argon2Hasher(config.password.hash_profile)
        self._pwned = _pwned(config)
        self._breached = breached or self._pwned
        self._stateless = jwt.verify == "stateless"
        self._kv_client: KVClient | None = None
        self._email_client: EmailClient | None = None
        self._providers = configured_providers(config, clock)
        self._automatic_mail = mail_worker
        self._mailbox: Mailbox | None = None
        self._subscribers: list[Subscriber] = []
        self._saw_direct_request = False
        self.set_db(None)

    @property
    def config(self) -> NativeAuthConfig:
        """The settings that the client was made with."""
        return self._config

    @property
    def providers(self) -> list[str]:
        """The names of the configured providers, sorted."""
        return sorted(self._providers)

    @property
    def sends_mail(self) -> bool:
        """Whether links can be mailed: there are an email client and a KV store."""
        return self._email_client is not None and self._kv_client is not None

    @property
    def email_client(self) -> EmailClient | None:
        """What mails are sent with."""
        return self._email_client

    # Wiring

    def set_db(self, db: DatabaseEngine | None) -> None:
        """Set the database; its stores are made here."""
        self._has_db = db is not None
        # Without one the stores stand on an engine that is never opened, and says so when used.
        self._db = db or DatabaseEngine(":memory:", clock=self._clock)
        self._wire()

    def set_kv(self, kv: KVClient | None) -> None:
        """Set the KV store."""
        self._kv_client = kv
        self._wire()

    def set_email(self, email_client: EmailClient | None) -> None:
        """Set the email client."""
        self._email_client = email_client
        self._wire()

    def _wire(self) -> None:
        """Make the stores, and what stands on them, of database, KV store and email client."""
        self._wire_stores()
        self._wire_limits()
        self._wire_mail()
        self._wire_sign_ins()

    def _wire_stores(self) -> None:
        config, db = self._config, self._db
        self._accounts = Accounts(db)
        self._sessions = Sessions(
            db,
            lifetime=timedelta(days=config.session_expire_days),
            idle=timedelta(days=config.jwt.refresh_token_expire_days),
        )
        self._events = Events(db, self._subscribers)
        self._use_org_stores(db)
        self._redemptions = Redemptions(db, self._accounts, self._sessions)
        self._identities = Identities(db, self._accounts, self._sessions)
        self._outbox = Outbox(db, mail_lifetimes(config))

    def _wire_limits(self) -> None:
        kv, keys, prefix = self._kv_client, self._keys, self._config.cache_prefix
        self._throttle = Throttle(kv, keys, self._events, self._config.throttle, prefix=prefix)
        self._refusals = Refusals(self._events, self._throttle)
        self._one_time = OneTimeTokens(kv, keys, clock=self._clock, prefix=prefix)
        self._links = PresentedLinks(self._db, self._one_time, self._throttle, self._refusals)
        self._flows = OAuthFlows(kv, keys, clock=self._clock, prefix=prefix)
        is_required = self._config.oauth_require_state
        self._oauth = OAuth(self._providers, self._flows, self._refusals, require_state=is_required)

    def _wire_mail(self) -> None:
        db, events, email = self._db, self._events, self._email_client
        if self._mailbox is not None:
            self._mailbox.stop(0)
        self._mailbox = None
        if email is not None:
            resolve = AccountMail(self._accounts, self._one_time, self._config)
            automatic = self._automatic_mail
            self._mailbox = Mailbox(self._outbox, events, email, resolve, automatic=automatic)
        can_link = self._kv_client is not None
        self._mails = MailRequests(
            db, events, self._throttle, self._refusals, self._mailbox, can_link=can_link
        )

    def _wire_sign_ins(self) -> None:
        config, db, hasher = self._config, self._db, self._hasher
        accounts, sessions, events = self._accounts, self._sessions, self._events
        throttle, refusals = self._throttle, self._refusals
        site = None if self._email_client is None else self._email_client.site_name
        self._new_passwords = NewPasswords(
            config.password, hasher, self._breached, events, site=site
        )
        self._password_check = PasswordCheck(
            config, hasher, db, accounts, events, throttle, refusals
        )
        old_events = functools.partial(events.purge, timedelta(days=config.event_retention_days))
        self._housekeeping = Housekeeping([old_events, sessions.purge], [self._outbox.purge])
        self._new_sessions = NewSessions(config, accounts, sessions, events, self._housekeeping)
        identities, redemptions = self._identities, self._redemptions
        self._sign_ins = SignIns(
            config, db, accounts, identities, redemptions, self._new_sessions, events, refusals
        )

    def connect(self) -> None:
        """Open the database, bring its schema up to date, and open the KV store.

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
            if self._mailbox is not None:
                self._mailbox.resume()
        except BaseException:
            self.disconnect()
            raise

    def disconnect(self) -> None:
        """Close what ``connect`` opened; waits up to five seconds for mails to be sent."""
        if self._mailbox is not None:
            self._mailbox.stop()
        if self._kv_client is not None:
            self._kv_client.disconnect()
        for provider in self._providers.values():
            provider.close()
        if self._pwned is not None:
            self._pwned.close()
        self._db.disconnect()

    # Users

    def get_user(self, user_id: Id) -> UserInfo:
        user = self._accounts.info(self._known_id(user_id))
        if user is None:
            raise UserNotFoundError
        return user

    def find_user(self, email: str, *, asked_by: Id | None = None) -> UserInfo | None:
        """Return the user with this address, or ``None``.

        Whoever sees the answer learns who has an account: an administrator's call, unless it is
        limited by *asked_by*.

        Args:
            asked_by: The signed-in user whom the answer is for; each may ask for so many addresses
                as ``ThrottleConfig.lookup_by_user`` says.

        Raises:
            RateLimitedError: *asked_by* has asked for too many.
        """
        if asked_by is not None:
            self._throttle.lookup(str(asked_by))
        try:
            user = self._accounts.by_email(normalize_email(email))
        except InvalidEmailError:
            return None
        return None if user is None else user.info()

    def list_users(self, *, limit: int | None = None, offset: int | None = None) -> list[UserInfo]:
        return self._accounts.infos(**bounds(limit, offset))

    def list_users_by_cursor(
        self, *, limit: int = 10, after: str | None = None
    ) -> CursorResult[UserInfo]:
        return self._cursors.page(
            "users", self._accounts.list, UserRecord.info, limit=limit, after=after
        )

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
        profile = profile_changes(
            {"role": role, "is_superuser": is_superuser, **kwargs}, ADMIN_FIELDS - {"is_active"}
        )
        hashed = None if password is None else self._new_passwords.hash(password, address, profile)
        with self._db.transaction():
            user = self._accounts.create(
                address,
                hashed,
                profile=profile,
                confirmed_at=self._db.now if confirmed else None,
            )
            self._events.record("user_created", user_id=user.id)
        return user.info()

    def update_user(self, *, user_id: Id, email: str | None = None, **kwargs: Any) -> UserInfo:
        """Change an account on an administrator's word.

        A changed address is unconfirmed again, links that were mailed for the old one die, and a
        notice goes there.
        Disabling (``is_active=False``) ends the user's sessions.

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
        with self._db.transaction():
            key = self._known_id(user_id)
            before = None
            if email is not None:
                self._hold_user(key)
                before = self._user(key)
            user = self._accounts.update(key, changes)
            if user is None:
                raise UserNotFoundError
            if before is not None and before.email != user.email:
                self._mails.notify(EMAIL_CHANGED, before, new_email=user.email)
            if not user.is_active:
                self._sessions.end_all(str(user.id))
            self._events.record(
                "user_updated", user_id=user.id, details={"fields": sorted(changes)}
            )
        return user.info()

    def set_password(self, *, user_id: Id, password: str) -> UserInfo:
        """Set a password on an administrator's word.

        Every session of the user ends, every link that was mailed before dies, and a notice is
        mailed.

        Raises:
            UserNotFoundError: There is no such user.
            PasswordValidationError: The password does not meet the policy.
            InvalidCredentialsError: The account changed meanwhile; nothing was done.
            RuntimeError: Called inside a transaction of the application.
        """
        user = self._user(user_id)
        hashed = self._new_passwords.hash(password, user.email, user._asdict())
        return self._replace_password(user, hashed, "password_set")

    def delete_user(self, user_id: Id) -> bool:
        key = as_id(user_id)
        if key is None:
            return False
        with self._db.transaction():
            if not self._accounts.hold(key):
                return False
            self._leave_orgs(key)
            self._sessions.end_all(key)
            self._accounts.delete(key)
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
        """Register a user, who is signed in at once unless addresses are confirmed first.

        The result has the user, and tokens; with confirmation on ``tokens`` is ``None``.

        Args:
            request: As in :meth:`sign_in_with_password`; *user_agent* and *ip_address*, too.
            confirmation_url: The page that confirms; the mail's link is this with ``token`` added.
            **kwargs: first_name, last_name, username, image_url, metadata; nothing else, so that
                nobody makes themselves an administrator.

        Raises:
            SignupDisabledError: Signing up is turned off.
            ConfirmationURLMissingError: Confirmation is on and *confirmation_url* was left out.
            ConfigError: Confirmation is on and no mail can be sent.
            InvalidEmailError: *email* is no address.
            PasswordValidationError: The password does not meet the policy.
            EmailAlreadyExistsError: An account with this address exists.
            RateLimitedError: Too many sign-ups from there.
        """
        self._require_sign_up(confirmation_url)
        caller = self._caller(request, user_agent, ip_address)
        address = normalize_email(email)
        self._throttle.sign_up(caller)
        profile = profile_changes(kwargs)
        hashed = self._new_passwords.hash(password, address, profile)
        confirm_first = self._config.enable_confirmation
        with self._db.transaction():
            user = self._accounts.create(
                address,
                hashed,
                profile=profile,
                signed_in_at=None if confirm_first else self._db.now,
            )
            self._events.record("sign_up", user_id=user.id, caller=caller)
            session = None if confirm_first else self._new_sessions.open(user, caller)
            if confirm_first:
                self._mails.require().post(
                    CONFIRMATION, address, confirmation_url, subject=confirmation_subject
                )
        return self._result(SignIn(user, session))

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
        """Begin a session; the result has the user and its tokens.

        Args:
            email: The address, in any case.
            request: Any object with ``.headers``: whose address counts attempts, and what is kept
                with the session, is read from it. Or say it by
            user_agent: the browser or program, and
            ip_address: the caller's address.
            first_name: Filled in where the profile has none; likewise *last_name*.

        Raises:
            InvalidCredentialsError: Email or password did not match.
            EmailNotConfirmedError: The password is right, the address not yet confirmed.
            UserDisabledError: The password is right, the account disabled.
            SessionLimitError: The password is right, and there are as many sessions as may be.
            RateLimitedError: Too many attempts for this account, or from there.
            RuntimeError: Called inside a transaction of the application.
        """
        self._db.refuse_foreign_transaction()
        names = profile_changes({"first_name": first_name, "last_name": last_name})
        caller = self._caller(request, user_agent, ip_address)
        user, attempt = self._password_check.sign_in(email, password, caller)
        renewed = self._password_check.renewed_hash(user, password)
        sign_in = self._sign_ins.by_password(user, renewed, names, caller)
        self._throttle.succeeded(attempt)
        return self._result(sign_in)

    def change_password(
        self,
        *,
        user_id: Id,
        current_password: str,
        new_password: str,
        session_id: Id | None = None,
        request: AuthRequest | None = None,
    ) -> UserInfo:
        """Set a new password on the word of somebody who knows the present one.

        Every other session of the user ends, every link that was mailed before dies, and a notice
        is mailed.

        Args:
            session_id: The session that asks; it alone goes on.

        Raises:
            UserNotFoundError: There is no such user.
            InvalidCredentialsError: *current_password* is wrong.
            UserDisabledError: It is right, and the account disabled.
            PasswordValidationError: The new password does not meet the policy.
            RateLimitedError: Too many attempts for this account, or from there.
        """
        caller = self._caller(request)
        user = self._user(user_id)
        self._password_check.require(user, current_password, "password_change", caller)
        hashed = self._new_passwords.hash(new_password, user.email, user._asdict())
        return self._replace_password(user, hashed, "password_change", caller, keep=session_id)

    # Links that are mailed

    def confirm_email(self, token: str, *, request: AuthRequest | None = None) -> UserInfo:
        """Take an address for proved, with the token of a confirmation link, which is spent by it.

        Password, sessions and identities stay as they are; every other link of the account dies.

        Raises:
            InvalidTokenError: The token is unknown, expired or spent; or the account's address or
                password has changed, or it is disabled.
            RuntimeError: Called inside a transaction of the application.
        """
        caller = self._caller(request)
        link = self._links.read(CONFIRMATION, token, "confirm_email", caller)
        with self._db.transaction(own=True):
            user = self._redemptions.confirm(link.claim)
            if user is not None:
                self._events.record("confirm_email", user_id=user.id, caller=caller)
        return self._links.spent(link, user).info()

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

        Takes as long, and says as little, whether or not the address has an account.

        Args:
            confirmation_url: The page that calls :meth:`confirm_email`, as for :meth:`sign_up`.
            **kwargs: Variables for the mail's template.

        Raises:
            InvalidEmailError: *email* is no address.
            ConfigError: No mail can be sent.
            TypeError: A variable has a name of the library's own, or is no JSON.
            ValueError: *confirmation_url* is no link that a mail may hold.
        """
        address, caller = normalize_email(email), self._caller(request)
        self._mails.request_link(
            CONFIRMATION, address, confirmation_url, caller, confirmation_subject, kwargs
        )

    def notify_account_exists(
        self, *, email: str, recovery_url: str, request: AuthRequest | None = None
    ) -> None:
        """Tell the owner of an address that somebody tried to sign up with it.

        For a page that answers a sign-up alike whether or not the address is taken (OWASP ASVS 5.0,
        6.3.8): it calls this where :meth:`sign_up` raised EmailAlreadyExistsError. The mail brings
        a link for a new password, which takes the account from whoever may have made it before the
        owner came.

        Args:
            recovery_url: The page that calls :meth:`reset_password`; the link is this with
                ``token`` added.

        Raises:
            InvalidEmailError: *email* is no address.
            ConfigError: No mail can be sent.
            ValueError: *recovery_url* is no link that a mail may hold.
        """
        address, caller = normalize_email(email), self._caller(request)
        # Only a sign-up with a taken address comes here, so an error would tell it from others.
        with contextlib.suppress(RateLimitedError):
            self._mails.request_link(ACCOUNT_EXISTS, address, recovery_url, caller)

    def request_password_recovery(
        self,
        *,
        email: str,
        recovery_url: str,
        recovery_subject: str = "Reset your password",
        request: AuthRequest | None = None,
        **kwargs: Any,
    ) -> None:
        """Mail a link for a new password, if the address has an account.

        Takes as long, and says as little, whether or not it has one: that is found out when the
        mail is sent (OWASP ASVS 5.0, 6.3.8).

        Args:
            recovery_url: The page that calls :meth:`reset_password`; the link is this with
                ``token`` added.
            **kwargs: Variables for the mail's template.

        Raises:
            InvalidEmailError: *email* is no address.
            ConfigError: No mail can be sent.
            TypeError: A variable has a name of the library's own, or is no JSON.
            ValueError: *recovery_url* is no link that a mail may hold.
        """
        address, caller = normalize_email(email), self._caller(request)
        self._mails.request_link(RECOVERY, address, recovery_url, caller, recovery_subject, kwargs)

    def reset_password(
        self, token: str, new_password: str, *, request: AuthRequest | None = None
    ) -> UserInfo:
        """Set a new password with the token of a recovery link, which is spent by it.

        All sessions and all other links of the account end, its address is proved, and a notice is
        mailed. Where the address had not been proved, sign-ins by provider are dropped too: they
        may be somebody else's. Nobody is signed in (OWASP ASVS 5.0, 6.4.3).

        Raises:
            InvalidTokenError: As :meth:`confirm_email`.
            PasswordValidationError: The password does not meet the policy; the token stays good.
            RuntimeError: Called inside a transaction of the application.
        """
        caller = self._caller(request)
        link = self._links.read(RECOVERY, token, "password_reset", caller)
        owner = self._accounts.by_id(link.claim.user_id or "")
        names = {} if owner is None else owner._asdict()
        hashed = self._new_passwords.hash(new_password, link.claim.email, names)
        with self._db.transaction(own=True):
            user = self._redemptions.reset(link.claim, hashed)
            if user is not None:
                self._events.record("password_reset", user_id=user.id, caller=caller)
                self._mails.notify(PASSWORD_CHANGED, user)
        user = self._links.spent(link, user)
        self._throttle.proved(user.email, caller)
        return user.info()

    def sign_in_with_magic_link(
        self, *, email: str, magic_link_url: str, request: AuthRequest | None = None
    ) -> None:
        """Mail a link that signs in once; for an address without an account it makes one.

        It makes one only while signing up is allowed. Takes as long, and says as little, whether or
        not the address has an account. Nothing of the account changes before the link is used.

        Args:
            magic_link_url: The page that calls :meth:`verify_magic_link`; the link is this with
                ``token`` added. Mail scanners open links: let the page wait for a click.

        Raises:
            InvalidEmailError: *email* is no address.
            ConfigError: No mail can be sent.
            ValueError: Magic links are not enabled, or *magic_link_url* is no link that a mail may
                hold.
        """
        if not self._config.enable_magic_link:
            raise ValueError("magic links are off: set NativeAuthConfig.enable_magic_link")
        address, caller = normalize_email(email), self._caller(request)
        self._mails.request_link(MAGIC_LINK, address, magic_link_url, caller)

    def verify_magic_link(
        self,
        token: str,
        *,
        user_agent: str | None = None,
        ip_address: str | None = None,
        request: AuthRequest | None = None,
    ) -> AuthResult:
        """Begin a session with the token of a magic link, which is spent by it.

        The link proves its address. An account whose address had not been proved loses password,
        sessions and sign-ins by provider, which somebody else may have given it.

        Raises:
            InvalidTokenError: As :meth:`confirm_email`; or signing up, or magic links, were turned
                off.
            RuntimeError: Called inside a transaction of the application.
        """
        caller = self._caller(request, user_agent, ip_address)
        link = self._links.read(MAGIC_LINK, token, "sign_in", caller)
        sign_in = self._sign_ins.by_magic_link(link.claim, caller)
        user = self._links.spent(link, sign_in and sign_in.user)
        self._throttle.proved(user.email, caller)
        assert sign_in is not None
        return self._result(sign_in)

    def request_email_change(
        self,
        *,
        user_id: Id,
        new_email: str,
        confirm_url: str,
        subject: str | None = None,
        current_password: str | None = None,
        request: AuthRequest | None = None,
        **kwargs: Any,
    ) -> None:
        """Mail a link to a new address of the user's; nothing changes before it is used.

        Args:
            user_id: From an authenticated session.
            confirm_url: The page that calls :meth:`confirm_email_change`; the link is this with
                ``token`` added.
            subject: In place of the mail's own.
            current_password: Is verified where it is given. Ask for it unless the user signed in
                just now: whoever has the address has the account (OWASP ASVS 5.0, 7.5.1).
            **kwargs: Variables for the mail's template.

        Raises:
            UserNotFoundError: There is no such user.
            InvalidEmailError: *new_email* is no address.
            InvalidCredentialsError: *current_password* is wrong.
            UserDisabledError: It is right, and the account disabled.
            ConfigError: No mail can be sent.
            TypeError: A variable has a name of the library's own, or is no JSON.
            ValueError: *confirm_url* is no link that a mail may hold.
        """
        address = normalize_email(new_email)
        caller = self._caller(request)
        user = self._user(user_id)
        if current_password is not None:
            self._password_check.require(user, current_password, "email_change", caller)
        self._mails.request_change(user, address, confirm_url, caller, subject, kwargs)

    def confirm_email_change(self, token: str, *, request: AuthRequest | None = None) -> UserInfo:
        """Give the account the address that the token's mail went to; the token is spent by it.

        The new address is proved, every other link of the account dies, and a notice goes to the
        old address. Sessions go on, since the password is the same.

        Raises:
            InvalidTokenError: As :meth:`confirm_email`.
            EmailAlreadyExistsError: Another account has the address by now; nothing was changed.
            RuntimeError: Called inside a transaction of the application.
        """
        caller = self._caller(request)
        link = self._links.read(EMAIL_CHANGE, token, "email_change", caller)
        with self._db.transaction(own=True):
            user = self._redemptions.move(link.claim)
            if user is not None:
                self._events.record("email_change", user_id=user.id, caller=caller)
                before = user._replace(email=link.claim.email)
                self._mails.notify(EMAIL_CHANGED, before, new_email=user.email)
        return self._links.spent(link, user).info()

    # The outbox

    def deliver_mail(self, *, timeout: float | None = None) -> int:
        """Send what waits, now and in the caller's thread; return how many mails were taken.

        Mails that wait for their next attempt are tried too, each once. For scripts, cron jobs and
        tests; otherwise a thread of the client does it.

        Args:
            timeout: Begin no more after that many seconds. One that is being sent is finished,
                which takes a minute at the most.

        Raises:
            AuthBackendError: The database failed.
            ConfigError: No mail can be sent.
            RuntimeError: Called inside a transaction of the application.
        """
        return self._mails.require().deliver(timeout)

    def list_undelivered_mail(
        self, *, limit: int | None = None, offset: int | None = None
    ) -> list[UndeliveredMail]:
        """Return the mails that were given up, newest first; each was an event ``mail_failed``.

        They are kept for 30 days. An administrator's call.
        """
        return self._outbox.undelivered(**bounds(limit, offset))

    def retry_mail(self, mail_id: Id) -> bool:
        """Try a mail that was given up once more; ``False`` where there is none.

        It gets a fresh link and as much time as at first. An administrator's call.
        """
        key = as_id(mail_id)
        if key is None or not self._outbox.retry(key):
            return False
        if self._mailbox is not None:
            self._db.after_commit(self._mailbox.wake)
        return True

    # Providers

    def get_oauth_provider(self, provider: str | AuthProvider) -> BaseOAuthProvider[Any]:
        return self._oauth.provider(str(provider))

    def get_oauth_authorization_url(
        self,
        provider: str | AuthProvider,
        state: str,
        scopes: list[str] | None = None,
        redirect_uri: str | None = None,
    ) -> str:
        """Return the URL to send the browser to, for a caller who guards *state* alone.

        :meth:`start_oauth` does more: state, PKCE and nonce are made, kept and checked.

        Raises:
            ValueError: The provider is not configured.
        """
        return self.get_oauth_provider(provider).get_authorization_url(state, scopes, redirect_uri)

    def start_oauth(
        self,
        provider: str | AuthProvider,
        *,
        redirect_uri: str | None = None,
        scopes: list[str] | None = None,
        user_id: Id | None = None,
        request: AuthRequest | None = None,
    ) -> OAuthStart:
        """Begin a sign-in at a provider; it is to be finished within ten minutes.

        Args:
            redirect_uri: Instead of the configured one.
            scopes: Instead of the configured ones.
            user_id: Begin to link the provider to this signed-in user, for :meth:`link_identity`;
                it must come from an authenticated session.

        Raises:
            ValueError: The provider is not configured.
            UserNotFoundError: There is no such user.
            RateLimitedError: Too many were begun from there.
            AuthBackendError: The KV store, or the provider's discovery, failed.
        """
        chosen = self.get_oauth_provider(provider)
        self._throttle.oauth(self._caller(request))
        owner = None if user_id is None else str(self._user(user_id).id)
        return self._oauth.start(chosen, redirect_uri=redirect_uri, scopes=scopes, user_id=owner)

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
        iss: str | None = NOT_GIVEN,
        binding: str | None = NOT_GIVEN,
    ) -> AuthResult:
        """Finish a sign-in at a provider; who comes for the first time gets an account.

        ``tokens`` is ``None`` while the address must first be confirmed: confirmation is on, and
        the provider does not vouch for it.

        Args:
            code: From the callback, like *state* and *iss*.
            redirect_uri: The one that the flow began with, where it was not the configured one.
            state: Redeems what :meth:`start_oauth` began. Once this keyword is given, an empty or
                missing value is a refusal. Left out, the caller guards the state.
            iss: The issuer that the callback names (RFC 9207); given likewise.
            binding: The secret of :class:`~.models.OAuthStart` from the browser's cookie; given
                likewise.

        Raises:
            InvalidCredentialsError: The provider or the state was refused, or the address is not
                one that may be linked.
            UserDisabledError: The account is disabled.
            SignupDisabledError: There is no account, and signing up is turned off.
            AuthBackendError: The provider, the KV store or the database failed.
            ValueError: The provider is not configured.
            RuntimeError: Called inside a transaction of the application.
        """
        self._db.refuse_foreign_transaction()
        caller = self._caller(request, user_agent, ip_address)
        callback = Callback(str(provider), code, redirect_uri, state, iss, binding)
        who = self._oauth.identity(callback, caller)
        return self._result(self._sign_ins.by_identity(who, caller))

    def list_identities(self, user_id: Id) -> list[IdentityInfo]:
        """Return what a user signs in with at providers, oldest first.

        Raises:
            UserNotFoundError: There is no such user.
        """
        return self._identities.list(str(self._user(user_id).id))

    def link_identity(
        self,
        *,
        user_id: Id,
        provider: str | AuthProvider,
        code: str,
        state: str | None,
        redirect_uri: str | None = None,
        iss: str | None = NOT_GIVEN,
        binding: str | None = NOT_GIVEN,
        request: AuthRequest | None = None,
    ) -> IdentityInfo:
        """Let a signed-in user come in by a provider, too, whatever address it knows them by.

        Args:
            user_id: From an authenticated session; the one that ``start_oauth(user_id=…)`` had.

        Raises:
            UserNotFoundError: There is no such user.
            IdentityAlreadyExistsError: The identity is somebody's already.
            InvalidCredentialsError: The provider or the state was refused, or password or address
                changed, or the account was disabled, while the provider was asked.
            AuthBackendError: The provider, the KV store or the database failed.
        """
        self._db.refuse_foreign_transaction()
        caller = self._caller(request)
        user = self._user(user_id)
        owner = str(user.id)
        callback = Callback(str(provider), code, redirect_uri, state, iss, binding)
        who = self._oauth.identity(callback, caller, user_id=owner)
        with self._db.transaction(own=True):
            if not self._accounts.hold_unchanged(user):
                raise InvalidCredentialsError("The account changed meanwhile: try again")
            identity = self._identities.link(owner, who)
            self._events.record(
                "identity_link", user_id=owner, caller=caller, details={"provider": who.provider}
            )
        return identity

    def unlink_identity(
        self,
        *,
        user_id: Id,
        provider: str | AuthProvider,
        subject: str,
        request: AuthRequest | None = None,
    ) -> bool:
        """Take an identity from a user; ``False`` where it is not theirs.

        Raises:
            UserNotFoundError: There is no such user.
            LastIdentityError: It is the user's last way in.
        """
        owner = str(self._user(user_id).id)
        with self._db.transaction():
            if not self._accounts.hold(owner):
                raise UserNotFoundError
            removed = self._identities.unlink(owner, str(provider), subject)
            if removed and not self._can_still_enter(owner):
                raise LastIdentityError
            if removed:
                self._events.record(
                    "identity_unlink",
                    user_id=owner,
                    caller=self._caller(request),
                    details={"provider": str(provider)},
                )
        return removed

    # Sessions and tokens

    def authenticate(self, request: AuthRequest) -> SessionInfo | None:
        """Return the session that *request* carries a valid access token of, else ``None``.

        The token comes from ``Authorization: Bearer …``. With ``JWTConfig.verify = "session"`` the
        session is looked up: role, organization and membership are the database's present ones,
        and signing out or disabling takes effect at once. With ``"stateless"`` the token alone
        decides until it expires.

        Raises:
            AuthBackendError: The database is down, which is not the same as "not signed in".
        """
        token = bearer_token(request)
        claims = None if token is None else self._access_tokens.verify(token)
        if claims is None:
            return None
        if self._stateless:
            return session_of(claims)
        session = self._sessions.check(claims.session_id)
        if session is None or str(session.user_id) != claims.user_id:
            return None
        return session.info(claims.expires_at)

    def issue_session_cookie(self, tokens: TokenPair) -> str:
        """Return the value of a cookie that stands for the session of *tokens*.

        It lives as long as the session. Set it HttpOnly, Secure and SameSite=Lax; the tokens are
        not needed beside it.

        Raises:
            InvalidTokenError: The tokens are not of this client.
        """
        known = self._refresh_tokens.read(tokens.refresh_token)
        if known is None:
            raise InvalidTokenError
        return self._session_cookies.issue(known[0])

    def authenticate_cookie(self, value: object) -> SessionInfo | None:
        """Return the session of a cookie of :meth:`issue_session_cookie`, or ``None``.

        The session is looked up each time, whatever ``JWTConfig.verify`` says. Being used puts its
        idle limit off, with one statement a minute at the most. ``expires_at`` is the end of the
        session.

        Raises:
            AuthBackendError: The database is down, which is not the same as "not signed in".
        """
        session_id = self._session_cookies.read(value)
        session = None if session_id is None else self._sessions.used(session_id)
        return None if session is None else session.info()

    def is_fresh(self, session: SessionInfo, within: timedelta) -> bool:
        """Tell whether a session began no longer ago than *within*.

        That is when its user last proved who they are, which what matters most should ask for
        (OWASP ASVS 5.0, 7.5.1). A session that does not say when it began is not fresh.
        """
        begun = session.metadata.get("created_at")
        return begun is not None and timedelta(0) <= self._clock() - begun <= within

    def refresh_token(self, refresh_token: str, *, request: AuthRequest | None = None) -> TokenPair:
        """Exchange a refresh token for a new pair; the old one is spent.

        Within ten seconds the spent one is answered with the present pair again, for a lost answer
        or two tabs. Later it is taken for stolen and the session ends (RFC 9700, section 4.14.2).

        Raises:
            InvalidTokenError: The token is unknown, expired, spent, or its user disabled.
            RuntimeError: Called inside a transaction of the application.
        """
        self._db.refuse_foreign_transaction()
        known = self._refresh_tokens.read(refresh_token)
        if known is None:
            raise InvalidTokenError
        session = self._sessions.rotate(*known) or self._sessions.repeated(*known)
        if session is None:
            self._end_refused(*known, self._caller(request))
            raise InvalidTokenError
        return self._tokens.issue(session)

    def set_active_org(
        self, *, session_id: Id, org_id: Id | None, refresh_token: str | None = None
    ) -> TokenPair:
        """Switch a session to an organization, and return tokens that say so.

        The pair holds the session's present refresh token: who can choose ``session_id`` takes that
        session over. It must come from an authenticated session, never from user input.

        Args:
            session_id: From ``authenticate(...).session_id``.
            org_id: The organization; ``None`` leaves the present one.
            refresh_token: Not needed here; one that is given must be this session's.

        Raises:
            OrgMemberNotFoundError: The user is not a member of the organization.
            InvalidTokenError: The session has ended, its user is disabled, or *refresh_token* is
                not its own.
        """
        session = self._living_session(session_id, refresh_token)
        org = as_id(org_id)
        with self._db.transaction():
            # Whether it is a member's is seen by what is waited for anyway.
            self._members.hold(org, session.user_id)
            switched = self._sessions.set_org(session.id, org)
            if switched is None:
                raise InvalidTokenError
            if org_id is not None and switched.org_role is None:
                raise OrgMemberNotFoundError
            self._events.record(
                "active_org_changed",
                user_id=session.user_id,
                session_id=session.id,
                details={"org_id": org},
            )
        return self._tokens.issue(switched)

    def list_sessions(
        self,
        *,
        user_id: Id | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[SessionInfo]:
        key = as_id(user_id)
        page = bounds(limit, offset)
        if user_id is not None and key is None:
            return []
        sessions = self._sessions.list(key, **page, after=FROM_NEWEST)
        return [session.info() for session in sessions]

    def list_sessions_by_cursor(
        self, *, user_id: Id, limit: int = 10, after: str | None = None
    ) -> CursorResult[SessionInfo]:
        key = as_id(user_id)
        fetch = _nothing if key is None else functools.partial(self._sessions.list, key)
        return self._cursors.page(
            f"sessions:{key}", fetch, SessionRecord.info, limit=limit, after=after
        )

    def sign_out(self, session_id: Id) -> None:
        """End a session; its access token is refused from the next request on."""
        key = as_id(session_id)
        if key is None:
            return
        with self._db.transaction():
            user_id = self._sessions.end(key)
            if user_id is not None:
                self._events.record("sign_out", user_id=user_id, session_id=key)

    def sign_out_all(self, user_id: Id) -> None:
        """End all sessions of a user."""
        key = as_id(user_id)
        if key is None:
            return
        with self._db.transaction():
            if self._accounts.hold(key) and self._sessions.end_all(key):
                self._events.record("sign_out_all", user_id=key)

    def revoke_other_sessions(self, session_id: Id) -> int:
        """End all sessions of a user but this one; return how many.

        ``session_id`` must come from an authenticated session.

        Raises:
            InvalidTokenError: The session has ended itself, or its user is disabled.
        """
        session = self._living_session(session_id, None)
        with self._db.transaction():
            self._accounts.hold(str(session.user_id))
            ended = self._sessions.end_all(str(session.user_id), keep=session.id)
            if ended:
                self._events.record(
                    "sign_out_others",
                    user_id=session.user_id,
                    session_id=session.id,
                    details={"sessions": ended},
                )
        return ended

    def requires_recent_sign_in(self, session: SessionInfo, minutes: float) -> bool:
        """Tell whether a user must sign in anew before something grave, such as a new address.

        What counts is when the session began; refreshing it changes nothing (OWASP ASVS 5.0,
        7.5.1). Where that is not known, as with ``JWTConfig.verify = "stateless"``, or lies in the
        future, the answer is yes.

        Args:
            session: From :meth:`authenticate`.
            minutes: How long ago the sign-in may be.

        Raises:
            ValueError: *minutes* is not more than 0.
        """
        if not minutes > 0:
            raise ValueError("minutes must be more than 0")
        return not self.is_fresh(session, timedelta(minutes=minutes))

    def purge(self) -> int:
        """Remove expired rows; return how many.

        Sign-ins remove a few each time; call this from a nightly job where there are many.
        """
        removed = self._housekeeping.purge()
        return removed + (self._kv_client.purge() if self._kv_client is not None else 0)

    # Events and checks

    def list_events_by_cursor(
        self, *, user_id: Id | None = None, limit: int = 10, after: str | None = None
    ) -> CursorResult[EventInfo]:
        """Return a page of events, newest first; *limit* is at most 1,000.

        They are kept for ``event_retention_days``. Of failures from one network range only the
        first of an hour are written, see ``ThrottleConfig.events_by_range``.

        Args:
            user_id: Whose; by default everybody's, which is an administrator's call.

        Raises:
            InvalidCursorError: *after* is no cursor of this list.
        """
        key = as_id(user_id)
        is_nobody = user_id is not None and key is None
        fetch = _nothing if is_nobody else functools.partial(self._events.list, key)
        return self._cursors.page(
            f"events:{key}", fetch, EventRecord.info, limit=limit, after=after
        )

    def subscribe(self, function: Subscriber) -> Callable[[], None]:
        """Call *function* with every :class:`~.models.EventInfo` of this client from now on.

        It is called once the event is committed, in the thread of the act, which waits for it. What
        it raises is logged and changes nothing. Call the result to end that.
        """
        self._subscribers.append(function)

        def unsubscribe() -> None:
            if function in self._subscribers:
                self._subscribers.remove(function)

        return unsubscribe

    def explain_sign_in(self, email: str) -> list[Finding]:
        """Tell an operator what keeps an address from signing in with its password.

        It says who has an account: an administrator's call, never a page's. Findings hold no
        secret; those of level ``error`` refuse every attempt.
        """
        return explain_sign_in(email, self._accounts, self._throttle, self._config)

    def doctor(self) -> list[Finding]:
        """Look for what is set up wrong or has gone wrong; an empty list is good news.

        It tries the KV store out, reads the database and looks at the files beside a SQLite one.

        Raises:
            AuthBackendError: The database failed.
        """
        doctor = Doctor(self._config, self._db, self._kv_client)
        return [
            *doctor.settings(has_mail=self._email_client is not None),
            *doctor.proxies(saw_direct_request=self._saw_direct_request),
            *doctor.files(),
            *doctor.schema(),
            *doctor.clock(self._events),
            *doctor.mail(self._outbox),
            *doctor.kv(),
        ]

    # Steps

    def _caller(
        self,
        request: AuthRequest | None,
        user_agent: str | None = None,
        ip_address: str | None = None,
    ) -> Caller:
        proxies = self._config.trusted_proxies
        if proxies and request is not None and not was_forwarded(request):
            self._saw_direct_request = True
        return caller_of(request, user_agent, ip_address, trusted_proxies=proxies)

    def _result(self, sign_in: SignIn) -> AuthResult:
        user, session = sign_in
        tokens = None if session is None else self._tokens.issue(session)
        return AuthResult(user=user.info(), tokens=tokens)

    def _hold_user(self, user_id: str) -> None:
        if not self._accounts.hold(user_id):
            raise UserNotFoundError

    def _forget_active_org(self, org_id: str, user_id: str | None = None) -> None:
        self._sessions.forget_org(org_id, user_id)

    def _living_session(self, session_id: Id, refresh_token: str | None) -> SessionRecord:
        """Return a session that lives, and that the refresh token belongs to if one is given."""
        key = as_id(session_id)
        session = None if key is None else self._sessions.check(key)
        if session is None:
            raise InvalidTokenError
        if refresh_token is not None:
            known = self._refresh_tokens.read(refresh_token)
            if known is None or known[0] != key:
                raise InvalidTokenError
        return session

    def _user(self, user_id: Id) -> UserRecord:
        user = self._accounts.by_id(self._known_id(user_id))
        if user is None:
            raise UserNotFoundError
        return user

    def _require_sign_up(self, confirmation_url: str | None) -> None:
        if not self._config.enable_signup:
            raise SignupDisabledError
        if self._config.enable_confirmation and confirmation_url is None:
            raise ConfirmationURLMissingError
        if self._config.enable_confirmation:
            self._mails.require()

    def _replace_password(
        self,
        user: UserRecord,
        password_hash: str,
        action: str,
        caller: Caller = UNKNOWN,
        *,
        keep: Id | None = None,
    ) -> UserInfo:
        """Give an account that did not change meanwhile another password; end all but *keep*."""
        with self._db.transaction(own=True):
            changed = self._accounts.set_password(user, password_hash)
            if changed is None:
                raise InvalidCredentialsError("The account changed meanwhile: try again")
            self._sessions.end_all(str(user.id), keep=keep)
            self._events.record(action, user_id=user.id, caller=caller)
            self._mails.notify(PASSWORD_CHANGED, changed)
        return changed.info()

    def _can_still_enter(self, user_id: str) -> bool:
        user = self._accounts.by_id(user_id)
        by_link = self._config.enable_magic_link and self._email_client is not None
        return bool(by_link or (user and user.password_hash) or self._identities.list(user_id))

    def _end_refused(self, session_id: str, counter: int, caller: Caller) -> None:
        """End a session whose refresh token was spent before, and keep a record of it."""
        with self._db.transaction(own=True):
            reason = "token_reused" if self._sessions.check(session_id) else "session_over"
            user_id = self._sessions.end(session_id)
            if user_id is not None:
                self._events.record(
                    "refresh",
                    FAILURE,
                    user_id=user_id,
                    session_id=session_id,
                    reason=reason,
                    caller=caller,
                    details={"counter": counter},
                )


def _nothing(**_: Any) -> list[Any]:
    return []


def _pwned(config: NativeAuthConfig) -> HaveIBeenPwned | None:
    """Return what asks for breached passwords, where that is switched on."""
    password = config.password
    return HaveIBeenPwned(password.breached_range_url) if password.breached else None
