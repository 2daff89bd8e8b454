from __future__ import annotations

import hashlib
import re
import string
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derp_auth_lite._keys import KeyRing
from derp_auth_lite._native.accounts import Accounts
from derp_auth_lite._native.one_time import Claim, OneTimeTokens
from derp_auth_lite._native.redemptions import Redemptions
from derp_auth_lite._native.sessions import Sessions
from derp_auth_lite.exceptions import (
    AuthBackendError,
    AuthNotConnectedError,
    EmailAlreadyExistsError,
)
from derp_auth_lite.kv.memory import MemoryKV
from derp_auth_lite.kv.redis import RedisKV

from .servers.redis_server import running_redis
from .support import SECRET, MovableClock

HOUR = timedelta(hours=1)
PURPOSES = ["confirmation", "email_change", "magic_link", "recovery"]
CLAIM = Claim(purpose="recovery", email="ada@example.com", user_id="u", stamp="s", new_email="n")


def tokens_in(kv, clock, *, keys=None):
    return OneTimeTokens(kv, keys or KeyRing(SECRET), clock=clock, prefix="derp:auth")


@pytest.fixture
def kv(clock):
    return MemoryKV(clock=clock)


@pytest.fixture
def tokens(kv, clock):
    return tokens_in(kv, clock)


class TestTokens:
    def test_a_token_stands_for_what_it_was_issued_for_until_it_is_forgotten(self, tokens):
        token = tokens.issue(CLAIM, HOUR)
        assert tokens.read("recovery", token) == CLAIM
        assert tokens.read("recovery", token) == CLAIM

        tokens.forget(token)
        assert tokens.read("recovery", token) is None

    def test_a_token_is_256_random_bits_in_43_characters_of_a_url(self, tokens):
        made = {tokens.issue(CLAIM, HOUR) for _ in range(200)}
        assert len(made) == 200
        assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", token) for token in made)

    @pytest.mark.parametrize("asked", PURPOSES)
    @pytest.mark.parametrize("purpose", PURPOSES)
    def test_a_token_of_one_kind_is_refused_as_any_other(self, tokens, purpose, asked):
        token = tokens.issue(Claim(purpose=purpose, email="ada@example.com"), HOUR)
        assert (tokens.read(asked, token) is not None) == (asked == purpose)

    def test_a_token_ends_by_the_clients_clock_whatever_the_store_keeps(self, clock):
        tokens = tokens_in(MemoryKV(clock=MovableClock()), clock)
        token = tokens.issue(CLAIM, HOUR)
        clock.advance(seconds=3599)
        assert tokens.read("recovery", token) == CLAIM
        clock.advance(seconds=1)
        assert tokens.read("recovery", token) is None

    def test_the_store_drops_a_token_at_its_end(self, tokens, kv, clock):
        tokens.issue(CLAIM, HOUR)
        assert len(list(kv.scan())) == 1
        clock.advance(hours=1)
        assert list(kv.scan()) == []

    @pytest.mark.parametrize(
        "change",
        [
            lambda token: token[:-1],
            lambda token: token + "A",
            lambda token: token[:-1] + next(c for c in string.ascii_letters if c != token[-1]),
            str.swapcase,
            lambda token: token[::-1],
            lambda token: f" {token[1:]}",
            lambda token: token[:-1] + "é",
            lambda token: token[:-1] + "\x00",
            lambda token: "",
            lambda token: None,
            lambda token: token.encode(),
            lambda token: [token],
            lambda token: 43,
        ],
    )
    def test_a_token_that_was_cut_or_changed_or_is_no_text_is_none(self, tokens, change):
        token = tokens.issue(CLAIM, HOUR)
        assert tokens.read("recovery", change(token)) is None

    @given(st.text(max_size=60))
    def test_no_other_text_is_a_token(self, text):
        tokens = tokens_in(MemoryKV(), MovableClock())
        tokens.issue(CLAIM, HOUR)
        assert tokens.read("recovery", text) is None

    def test_the_store_never_sees_a_token(self, tokens, kv):
        token = tokens.issue(CLAIM, HOUR)
        ((key, value),) = ((key, kv.get(key)) for key in kv.scan())
        assert (
            key
            == b"derp:auth:one-time-token:" + hashlib.sha256(token.encode()).hexdigest().encode()
        )
        assert token.encode() not in key + value
        assert tokens.read("recovery", key.decode()[-64:]) is None


class TestForgery:
    @given(st.data())
    def test_a_record_with_any_byte_changed_is_worth_nothing(self, data):
        kv, clock = MemoryKV(clock=MovableClock()), MovableClock()
        tokens = tokens_in(kv, clock)
        token = tokens.issue(CLAIM, HOUR)
        (key,) = kv.scan()
        record = bytearray(kv.get(key))
        place = data.draw(st.integers(0, len(record) - 1))
        # Hexadecimal digits mean the same in either case; everything else must differ.
        flip = data.draw(st.integers(1, 255).filter(lambda bits: bits != 0x20))
        record[place] ^= flip
        kv.set(key, bytes(record))
        assert tokens.read("recovery", token) is None

    @given(st.binary(max_size=200))
    def test_rubbish_in_the_store_is_no_record(self, rubbish):
        kv = MemoryKV()
        tokens = tokens_in(kv, MovableClock())
        token = tokens.issue(CLAIM, HOUR)
        (key,) = kv.scan()
        kv.set(key, rubbish)
        assert tokens.read("recovery", token) is None

    def test_a_record_moved_under_the_key_of_a_known_token_is_worth_nothing(self, tokens, kv):
        """Else whoever can write the store could put a victim's reset under a token of theirs."""
        tokens.issue(CLAIM, HOUR)
        (key,) = kv.scan()
        mine = "A" * 43
        digest = hashlib.sha256(mine.encode()).hexdigest()
        kv.set(b"derp:auth:one-time-token:" + digest.encode(), kv.get(key))
        assert tokens.read("recovery", mine) is None

    def test_a_record_of_another_secret_is_worth_nothing(self, tokens, kv, clock):
        stranger = tokens_in(kv, clock, keys=KeyRing("the secret of somebody else, quite long"))
        assert tokens.read("recovery", stranger.issue(CLAIM, HOUR)) is None

    def test_a_token_outlives_the_rotation_of_the_secret_until_the_old_one_is_dropped(
        self, tokens, kv, clock
    ):
        new = "the secret that comes after it, long enough"
        token = tokens.issue(CLAIM, HOUR)
        rotated = tokens_in(kv, clock, keys=KeyRing(new, [SECRET]))
        assert rotated.read("recovery", token) == CLAIM
        dropped = tokens_in(kv, clock, keys=KeyRing(new))
        assert dropped.read("recovery", token) is None


class TestStoreDown:
    @pytest.fixture
    def tokens(self, clock):
        """Tokens in a store whose server is no more."""
        with running_redis() as url:
            kv = RedisKV(url)
            kv.connect()
        yield tokens_in(kv, clock)
        kv.disconnect()

    def test_reading_and_issuing_say_so(self, tokens):
        with pytest.raises(AuthBackendError):
            tokens.read("recovery", "A" * 43)
        with pytest.raises(AuthBackendError):
            tokens.issue(CLAIM, HOUR)

    def test_forgetting_a_spent_token_is_no_failure(self, tokens, caplog):
        tokens.forget("A" * 43)
        assert "could not be removed" in caplog.text
        assert "AAAA" not in caplog.text

    def test_without_a_store_the_message_says_what_to_call(self, clock):
        with pytest.raises(AuthNotConnectedError, match="set_kv"):
            tokens_in(None, clock).issue(CLAIM, HOUR)


class TestRedemptions:
    """The stores alone; the recipes are in test_mail_flows.py."""

    @pytest.fixture
    def engine(self, auth):
        return auth._db

    @pytest.fixture
    def accounts(self, engine):
        return Accounts(engine)

    @pytest.fixture
    def redemptions(self, engine, accounts):
        return Redemptions(engine, accounts, Sessions(engine))

    @pytest.fixture
    def user(self, accounts):
        return accounts.create("ada@example.com", "a hash")

    def claim(self, user, **changed):
        known = {
            "purpose": "any",
            "email": user.email,
            "user_id": str(user.id),
            "stamp": user.token_stamp,
            "new_email": "countess@example.com",
        }
        return Claim(**{**known, **changed})

    @pytest.mark.parametrize("spend", ["confirm", "reset", "enter", "move"])
    def test_each_way_to_spend_a_claim_spends_it_once_and_voids_all_others(
        self, engine, redemptions, user, spend
    ):
        claim = self.claim(user)
        extra = ("another hash",) if spend == "reset" else ()
        with engine.transaction():
            after = getattr(redemptions, spend)(claim, *extra)
        assert after.token_stamp != user.token_stamp
        assert after.info().email_confirmed_at is not None
        with engine.transaction():
            assert redemptions.confirm(claim) is None
            assert redemptions.reset(claim, "x") is None
            assert redemptions.enter(claim) is None
            assert redemptions.move(claim) is None

    @pytest.mark.parametrize(
        "changed",
        [
            {"stamp": "0" * 32},
            {"stamp": None},
            {"email": "eve@example.com"},
            {"user_id": "6f3f6c1e-58a5-4f6e-9d0c-6c0f5a2f8f11"},
        ],
    )
    def test_a_claim_that_differs_from_the_account_changes_nothing(
        self, engine, redemptions, accounts, user, changed
    ):
        claim = self.claim(user, **changed)
        with engine.transaction():
            assert redemptions.confirm(claim) is None
            assert redemptions.reset(claim, "x") is None
            assert redemptions.enter(claim) is None
            assert redemptions.move(claim) is None
        assert accounts.by_id(str(user.id)) == user

    def test_a_disabled_user_spends_nothing(self, engine, redemptions, accounts, user):
        accounts.update(str(user.id), {"is_active": False})
        claim = self.claim(user)
        with engine.transaction():
            assert redemptions.confirm(claim) is None
            assert redemptions.reset(claim, "x") is None
            assert redemptions.enter(claim) is None
            assert redemptions.move(claim) is None

    def test_a_claim_without_an_account_only_inserts(self, engine, redemptions, accounts):
        claim = Claim(purpose="magic_link", email="new@example.com")
        with engine.transaction():
            made = redemptions.enter(claim)
        assert made.info().email_confirmed_at == engine.now
        assert made.password_hash is None
        with engine.transaction():
            assert redemptions.enter(claim) is None
        assert accounts.by_email("new@example.com") == made

    def test_an_address_that_somebody_took_meanwhile_moves_nothing(
        self, engine, redemptions, accounts, user
    ):
        accounts.create("countess@example.com", None)
        with pytest.raises(EmailAlreadyExistsError) as caught, engine.transaction():
            redemptions.move(self.claim(user))
        assert caught.value.email == "countess@example.com"
        assert accounts.by_id(str(user.id)) == user
