"""Limits against guessing and flooding, counted in the KV store.

An attempt to sign in is counted before its password is verified, so that many at once get no more
tries than one after the other. Three limits stand beside each other:

- account and network range together: guessing one password from one place ends soon;
- the account from all places that it was never signed in from: a crowd that guesses one password;
- the range, by its failures: one place that tries many accounts.

Whoever has signed in from a range before passes the last two, so that neither a crowd locks a user
out nor one guesser an office. The limits close the way by password alone; links go on working.

Addresses stand in the store as keyed hashes. Whether one has an account is never asked here: limits
tell nobody who exists (OWASP ASVS 5.0, 6.3.8).
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass

from .._keys import KeyRing
from .._local.events import FAILURE, Events
from .._request import UNKNOWN, Caller
from ..config import ThrottleConfig
from ..exceptions import (
    AuthBackendError,
    AuthNotConnectedError,
    InvalidCredentialsError,
    InvalidTokenError,
    RateLimitedError,
)
from ..kv.base import KVClient

__all__ = ["UNKNOWN_RANGE", "Attempt", "Throttle", "network_range"]

_log = logging.getLogger(__name__)

UNKNOWN_RANGE = "unknown"
"""The range of all whose network address is not known."""

_UNKNOWN_FACTOR = 10
_DAY = 24 * 3600.0
_FAMILIAR_SECONDS = 30 * _DAY
_LONGEST_ADDRESS = 320
_REMEMBERED = 1024  # ranges: a sign-in asks for its own several times
_BURST, _HOURLY = "mail_by_address_burst", "mail_by_address"


@dataclass(frozen=True)
class Attempt:
    """A sign-in that is allowed to go on, as the store knows it."""

    account: str
    range: str

    @property
    def pair(self) -> str:
        """Name account and range together."""
        return f"{self.account}:{self.range}"


@functools.lru_cache(maxsize=_REMEMBERED)
def network_range(address: str | None) -> str:
    """Return the network that an address is counted under.

    IPv4 counts by the single address, since neighbours are strangers; IPv6 by its /64, which is
    what one customer gets at the least (RFC 6177).
    """
    if address is None:
        return UNKNOWN_RANGE
    known = ipaddress.ip_address(address)
    if known.version == 4:
        return str(known)
    return str(ipaddress.ip_network((int(known) >> 64 << 64, 64)))


class Throttle:
    """Counts what is limited, and refuses what is too much.

    Every method but :meth:`may_mail` and :meth:`may_note` raises RateLimitedError where a limit is
    passed, for known and unknown addresses alike, and each raises AuthBackendError where the store
    fails: without counts nobody gets in (OWASP ASVS 5.0, 16.5.3).

    Args:
        kv: Where counts are kept; needed as soon as a limit is on.
        events: Told once a window of each limit that was passed; ``None``: nobody is.
        prefix: Begins every key in the store.
    """

    def __init__(
        self,
        kv: KVClient | None,
        keys: KeyRing,
        events: Events | None,
        config: ThrottleConfig,
        *,
        prefix: str,
    ) -> None:
        self._store = kv
        self._keys = keys
        self._events = events
        self._config = config
        self._prefix = f"{prefix}:throttle"

    def address_hash(self, address: str) -> str:
        """Return the keyed hash that stands for an address, or for what was typed as one."""
        text = address[:_LONGEST_ADDRESS].encode("utf-8", "surrogatepass")
        return self._keys.mac("email address", text).hex()

    def sign_in(self, address: str, caller: Caller) -> Attempt:
        """Count an attempt with a password, before the password is verified."""
        return self._try(self.address_hash(address), caller)

    def code(self, whose: str, caller: Caller) -> Attempt:
        """Count an attempt with a mailed code, before the code is verified: it has a few digits.

        Codes are counted as passwords are and apart from them, so that who guesses at one closes
        the way by the other to nobody.

        Args:
            whose: The address or the user that the code was made for.
        """
        return self._try(self.address_hash(f"code\n{whose}"), caller)

    def _try(self, account: str, caller: Caller) -> Attempt:
        attempt = Attempt(account, network_range(caller.ip_address))
        is_familiar = self._is_familiar(attempt)
        if not is_familiar:
            self._require_room("sign_in_by_range", attempt.range)
        if attempt.range != UNKNOWN_RANGE:
            self._count("sign_in_by_pair", attempt.pair, caller, attempt.account)
        if not is_familiar:
            self._count("sign_in_by_account", attempt.account, caller, attempt.account)
        return attempt

    @contextlib.contextmanager
    def guessing(self, attempt: Attempt, caller: Caller) -> Iterator[None]:
        """Count what is found wrong within against its range; forget the failures before it if not.

        What ends in any other error proves nothing and stays counted.
        """
        try:
            yield
        except (InvalidCredentialsError, InvalidTokenError):
            self.failed(attempt, caller)
            raise
        self.succeeded(attempt)

    def failed(self, attempt: Attempt, caller: Caller) -> None:
        """Count a wrong password against the range that it came from."""
        self._count_failure("sign_in_by_range", attempt.range, caller)

    def succeeded(self, attempt: Attempt) -> None:
        """Forget the failures of the account and of the pair; those of the range stand.

        Else one good sign-in would give a guesser the whole range anew.
        """
        if not self._is_on("sign_in_by_pair") and not self._is_on("sign_in_by_account"):
            return
        pair = self._key("sign_in_by_pair", attempt.pair)
        account = self._key("sign_in_by_account", attempt.account)
        try:
            self._kv.delete_many([pair, account])
            if attempt.range != UNKNOWN_RANGE:
                self._make_familiar(self._key("familiar", attempt.pair))
        except AuthBackendError:  # what was done is done: counts that stand are only stricter
            _log.warning("the limits of an account could not be cleared")

    def proved(self, address: str, caller: Caller) -> None:
        """Forget an account's failures after its owner came in by a link or reset the password."""
        self.succeeded(Attempt(self.address_hash(address), network_range(caller.ip_address)))

    def sign_up(self, caller: Caller) -> None:
        """Count a sign-up, before anything is done for it."""
        self._count("sign_up_by_range", network_range(caller.ip_address), caller)

    def oauth(self, caller: Caller) -> None:
        """Count a sign-in at a provider that is begun; the store keeps each for a while."""
        self._count("oauth_by_range", network_range(caller.ip_address), caller)

    def token(self, caller: Caller) -> None:
        """Refuse a range that has presented too many bad one-time tokens."""
        self._require_room("token_by_range", network_range(caller.ip_address))

    def refused_token(self, caller: Caller) -> None:
        """Count a one-time token that was none."""
        self._count_failure("token_by_range", network_range(caller.ip_address), caller)

    @contextlib.contextmanager
    def redeeming(self, caller: Caller) -> Iterator[None]:
        """Let a one-time token be presented within, where the range may; count it if it is none."""
        self.token(caller)
        try:
            yield
        except InvalidTokenError:
            self.refused_token(caller)
            raise

    def step(self, token: str, caller: Caller) -> None:
        """Count an answer to a step in the middle of a sign-in, which *token* stands for."""
        self._count("sign_in_by_pair", f"step:{self.address_hash(token)}", caller)

    def mail(self, caller: Caller) -> None:
        """Count a request for a mail against the range that it came from."""
        self._count("mail_by_range", network_range(caller.ip_address), caller)

    def lookup(self, user_id: str) -> None:
        """Count an address that a user asks for; the answer tells them whether it has an account.

        It is refused before it is looked up.
        """
        self._count("lookup_by_user", user_id, UNKNOWN, user_id=user_id)

    def may_mail(self, kind: str, address: str) -> bool:
        """Count a mail to an address; ``False`` where it is one too many, which nobody is told.

        Each kind counts alone: who asks for some in another's name keeps no link of another kind,
        such as the one to a new password, from them.
        """
        key = f"{kind}:{self.address_hash(address)}"
        if self._passed(_BURST, key, self._add(_BURST, key)):
            return False
        return not self._passed(_HOURLY, key, self._add(_HOURLY, key))

    def may_note(self, caller: Caller) -> bool:
        """Tell whether one more failure from this range is written down, or only counted."""
        name, network = "events_by_range", network_range(caller.ip_address)
        return not self._passed(name, network, self._add(name, network))

    def full(self, address: str) -> dict[str, float]:
        """Return the account's limits that are passed now, with the seconds that they last."""
        name, account = "sign_in_by_account", self.address_hash(address)
        if not self._is_on(name):
            return {}
        count = _as_count(self._kv.get(self._key(name, account)))
        return {name: self._wait(name, account)} if count >= self._limit(name, account) else {}

    @property
    def _kv(self) -> KVClient:
        if self._store is None:
            raise AuthNotConnectedError(
                "Limits need a KV store: call set_kv(), or turn them off with ThrottleConfig.off()"
            )
        return self._store

    def _is_familiar(self, attempt: Attempt) -> bool:
        if attempt.range == UNKNOWN_RANGE or not self._is_on("sign_in_by_pair"):
            return False
        return self._kv.exists(self._key("familiar", attempt.pair))

    def _make_familiar(self, key: bytes) -> None:
        """Note that an account was entered from a range; once a day is enough."""
        left = self._kv.ttl(key)
        if left is None or not _FAMILIAR_SECONDS - _DAY < left <= _FAMILIAR_SECONDS:
            self._kv.set(key, b"1", ttl=_FAMILIAR_SECONDS)

    def _count(
        self,
        name: str,
        key: str,
        caller: Caller,
        account: str | None = None,
        *,
        user_id: str | None = None,
    ) -> None:
        """Count one more and refuse it where it is one too many."""
        count = self._add(name, key)
        if not self._passed(name, key, count):
            return
        if count == self._limit(name, key) + 1:
            self._note(name, caller, account, user_id)
        raise RateLimitedError(self._wait(name, key))

    def _count_failure(self, name: str, key: str, caller: Caller) -> None:
        """Count what has failed; the next one is refused where that was the last allowed."""
        if self._is_on(name) and self._add(name, key) == self._limit(name, key):
            self._note(name, caller)

    def _require_room(self, name: str, key: str) -> None:
        """Refuse where the limit is reached, counting nothing."""
        if self._is_on(name):
            count = _as_count(self._kv.get(self._key(name, key)))
            if count >= self._limit(name, key):
                raise RateLimitedError(self._wait(name, key))

    def _add(self, name: str, key: str) -> int:
        if not self._is_on(name):
            return 0
        full_key, window = self._key(name, key), float(self._rule(name)[1])
        try:
            return self._kv.incr(full_key, ttl=window)
        except ValueError:
            _log.warning("a count of %s was not readable: it begins anew", name)
            self._kv.delete(full_key)
            return self._kv.incr(full_key, ttl=window)

    def _passed(self, name: str, key: str, count: int) -> bool:
        return self._is_on(name) and count > self._limit(name, key)

    def _wait(self, name: str, key: str) -> float:
        """Return the seconds until a limit ends, which is never later than a window from now.

        A clock that was set back, or a store restored from a copy, can leave more than that, and a
        counter that another program wrote need not end at all.
        """
        full_key, window = self._key(name, key), float(self._rule(name)[1])
        left = self._kv.ttl(full_key)
        if left is None or left > window:
            self._kv.expire(full_key, window)
            left = window
        return max(1.0, math.ceil(left))

    def _note(
        self,
        name: str,
        caller: Caller,
        account: str | None = None,
        user_id: str | None = None,
    ) -> None:
        _log.warning("a limit was reached: %s", name)
        if self._events is None:
            return
        self._events.record(
            "throttled",
            FAILURE,
            user_id=user_id,
            reason=name,
            address_hash=account,
            caller=caller,
        )

    def _is_on(self, name: str) -> bool:
        return self._rule(name)[0] > 0

    def _limit(self, name: str, key: str) -> int:
        return self._rule(name)[0] * (_UNKNOWN_FACTOR if key == UNKNOWN_RANGE else 1)

    def _rule(self, name: str) -> tuple[int, int]:
        rule: tuple[int, int] = getattr(self._config, name)
        return rule

    def _key(self, name: str, key: str) -> bytes:
        return f"{self._prefix}:{name}:{key}".encode()


def _as_count(value: bytes | None) -> int:
    return int(value) if value is not None and value.isdigit() else 0
