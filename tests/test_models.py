from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from derp_auth_lite import models
from derp_auth_lite.jwt import TokenPair
from derp_auth_lite.models import (
    AuthProvider,
    AuthRequest,
    AuthResult,
    CursorResult,
    EventInfo,
    Finding,
    OrgInfo,
    OrgMemberInfo,
    SessionInfo,
    UndeliveredMail,
    UserInfo,
)

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
USER = UserInfo(
    id="u",
    email="ada@example.com",
    role="user",
    is_active=True,
    is_superuser=False,
    email_confirmed_at=None,
    last_sign_in_at=None,
    created_at=NOW,
    updated_at=NOW,
    metadata={"theme": "dark"},
)
TOKENS = TokenPair(
    access_token="ACCESS-SECRET", refresh_token="REFRESH-SECRET", expires_in=900, expires_at=NOW
)
RECORDS = [
    USER,
    SessionInfo(user_id="u", session_id="s", role="user", expires_at=NOW, metadata={}),
    AuthResult(user=USER, tokens=TOKENS),
    TOKENS,
    OrgInfo(id="o", name="Acme", slug="acme", metadata={}, created_at=NOW, updated_at=NOW),
    OrgMemberInfo(org_id="o", user_id="u", role="owner", created_at=NOW, updated_at=NOW),
    UndeliveredMail(
        id="m", kind="recovery", email="a", attempts=2, reason="r", created_at=NOW, failed_at=NOW
    ),
    EventInfo(
        id="e",
        user_id="u",
        action="sign_in",
        outcome="failure",
        reason="wrong_password",
        session_id=None,
        address_key=None,
        ip_address="192.0.2.1",
        user_agent="a",
        details={},
        created_at=NOW,
    ),
    Finding(code="kv_unwritable", level="error", message="m"),
    CursorResult(data=[USER], has_more=True, next_cursor="c"),
]
NAMES = {
    UserInfo: "id email first_name last_name username image_url role is_active is_superuser"
    " email_confirmed_at last_sign_in_at created_at updated_at metadata",
    SessionInfo: "user_id session_id role expires_at metadata org_id org_role",
    AuthResult: "user tokens",
    TokenPair: "access_token refresh_token token_type expires_in expires_at",
    OrgInfo: "id name slug metadata created_at updated_at",
    OrgMemberInfo: "org_id user_id role created_at updated_at",
    UndeliveredMail: "id kind email attempts reason created_at failed_at",
    EventInfo: "id user_id action outcome reason session_id address_key ip_address user_agent"
    " details created_at",
    Finding: "code level message",
    CursorResult: "data has_more next_cursor",
}

each_record = pytest.mark.parametrize("record", RECORDS, ids=lambda it: type(it).__name__)


class TestRecords:
    @each_record
    def test_a_record_has_the_documented_fields_in_order(self, record):
        assert " ".join(f.name for f in fields(record)) == NAMES[type(record)]

    @each_record
    def test_a_record_cannot_be_changed(self, record):
        name = fields(record)[0].name

        with pytest.raises(FrozenInstanceError):
            setattr(record, name, "other")

    @each_record
    def test_a_record_is_made_by_keyword_alone(self, record):
        values = [getattr(record, f.name) for f in fields(record)]

        with pytest.raises(TypeError, match="positional"):
            type(record)(*values)

    @each_record
    def test_a_record_can_be_compared_copied_and_sent_to_another_process(self, record):
        assert pickle.loads(pickle.dumps(record)) == record
        assert copy.deepcopy(record) == record
        assert dataclasses.replace(record) == record

    @each_record
    def test_no_record_shows_a_token(self, record):
        assert "SECRET" not in f"{record!r} {record}"

    @each_record
    def test_no_record_has_a_place_for_a_password_or_its_hash(self, record):
        """What is handed to templates and logs cannot hold it (OWASP ASVS 5.0, 14.2.6)."""
        assert not [f.name for f in fields(record) if "password" in f.name or "hash" in f.name]

    def test_tokens_are_of_the_bearer_kind_unless_said_otherwise(self):
        assert TOKENS.token_type == "bearer"

    def test_each_page_has_a_list_of_its_own(self):
        assert CursorResult(has_more=False).data is not CursorResult(has_more=False).data

    def test_what_is_public_is_listed_in_order(self):
        assert models.__all__ == sorted(models.__all__)
        assert set(models.__all__) <= set(vars(models))
        assert models.TokenPair is TokenPair


class TestAuthProvider:
    def test_a_provider_is_its_name(self):
        assert [*AuthProvider] == ["email", "magic_link", "google", "github"]
        assert f"{AuthProvider.GOOGLE}" == "google"
        assert json.dumps({"provider": AuthProvider.GITHUB}) == '{"provider": "github"}'


class TestAuthRequest:
    def test_any_object_with_headers_is_a_request(self):
        assert isinstance(SimpleNamespace(headers={"Authorization": "Bearer x"}), AuthRequest)

    def test_an_object_without_headers_is_none(self):
        assert not isinstance(SimpleNamespace(), AuthRequest)
