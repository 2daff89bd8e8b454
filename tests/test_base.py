from __future__ import annotations

import abc
import inspect
import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from inspect import Parameter

import pytest

from derp_auth_lite.base import BaseAuthClient
from derp_auth_lite.exceptions import OrgMismatchError
from derp_auth_lite.models import SessionInfo
from derp_auth_lite.native_client import NOT_GIVEN, NativeAuthClient
from derp_auth_lite.supabase_client import SupabaseAuthClient
from derp_auth_lite.workos_client import WorkOSAuthClient

ORG = "6f3f6c1e-58a5-4f6e-9d0c-6c0f5a2f8f11"
SESSION = SessionInfo(
    user_id="u",
    session_id="s",
    role="editor",
    expires_at=datetime(2030, 1, 1, tzinfo=UTC),
    metadata={},
    org_id=ORG,
    org_role="owner",
)


class Original:
    """The interface that is ported (derp 0.2.12, without await): the table for these tests."""

    def connect(self): ...

    def disconnect(self): ...

    def set_db(self, db): ...

    def set_kv(self, kv): ...

    def set_email(self, email_client): ...

    @abc.abstractmethod
    def get_user(self, user_id): ...

    @abc.abstractmethod
    def list_users(self, *, limit=None, offset=None): ...

    @abc.abstractmethod
    def update_user(self, *, user_id, email=None, **kwargs): ...

    @abc.abstractmethod
    def delete_user(self, user_id): ...

    @abc.abstractmethod
    def count_users(self): ...

    @abc.abstractmethod
    def authenticate(self, request): ...

    @abc.abstractmethod
    def list_sessions(self, *, user_id=None, limit=None, offset=None): ...

    @abc.abstractmethod
    def sign_out(self, session_id): ...

    @abc.abstractmethod
    def sign_out_all(self, user_id): ...

    def is_authorized(self, session, *roles): ...

    def sign_up(
        self,
        *,
        email,
        password,
        request=None,
        confirmation_url=None,
        confirmation_subject="Confirm your email address",
        user_agent=None,
        ip_address=None,
        **kwargs,
    ): ...

    def sign_in_with_password(
        self,
        email,
        password,
        *,
        request=None,
        first_name=None,
        last_name=None,
        user_agent=None,
        ip_address=None,
    ): ...

    def sign_in_with_magic_link(self, *, email, magic_link_url): ...

    def verify_magic_link(self, token, *, user_agent=None, ip_address=None): ...

    def get_oauth_provider(self, provider): ...

    def get_oauth_authorization_url(self, provider, state, scopes=None, redirect_uri=None): ...

    def sign_in_with_oauth(
        self, provider, code, *, redirect_uri=None, user_agent=None, ip_address=None
    ): ...

    def refresh_token(self, refresh_token): ...

    def request_password_recovery(
        self, *, email, recovery_url, recovery_subject="Reset your password", **kwargs
    ): ...

    def reset_password(self, token, new_password): ...

    def confirm_email(self, token): ...

    def resend_confirmation_email(
        self,
        *,
        email,
        confirmation_url,
        confirmation_subject="Confirm your email address",
        **kwargs,
    ): ...

    def create_org(self, *, name, slug, creator_id, **kwargs): ...

    def get_org(self, *, org_id=None, slug=None): ...

    def update_org(self, *, org_id=None, org_slug=None, name=None, slug=None, **kwargs): ...

    def delete_org(self, *, org_id=None, slug=None): ...

    def list_orgs(self, *, user_id=None, limit=None, offset=None): ...

    def add_org_member(self, *, org_id=None, slug=None, user_id, role="member"): ...

    def update_org_member(self, *, org_id=None, slug=None, user_id, role): ...

    def remove_org_member(self, *, org_id=None, slug=None, user_id): ...

    def list_org_members(self, *, org_id=None, slug=None, limit=None, offset=None): ...

    def get_org_member(self, *, org_id=None, slug=None, user_id): ...

    def list_users_by_cursor(self, *, limit=10, after=None): ...

    def list_sessions_by_cursor(self, *, user_id, limit=10, after=None): ...

    def list_orgs_by_cursor(self, *, user_id=None, limit=10, after=None): ...

    def list_org_members_by_cursor(self, *, org_id=None, slug=None, limit=10, after=None): ...

    def set_active_org(self, *, session_id, org_id): ...

    def is_org_authorized(self, session, org_id, *roles): ...

    def is_same_org(self, session, org_id): ...

    def assert_same_org(self, session, org_id): ...


def methods_of(kind):
    """What a class defines itself, dunder and private names apart, in order."""
    return [name for name, it in vars(kind).items() if name[0] != "_" and inspect.isfunction(it)]


NAMES = methods_of(Original)
WIRING = ["connect", "disconnect", "set_db", "set_kv", "set_email"]
CHECKS = ["is_authorized", "is_org_authorized", "is_same_org", "assert_same_org"]
ABSTRACT = [name for name in NAMES if hasattr(getattr(Original, name), "__isabstractmethod__")]
OPTIONAL = [name for name in NAMES if name not in {*WIRING, *CHECKS, *ABSTRACT}]


def parameters(method):
    """The parameters as comparable triples: name, kind and default."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(method).parameters.values()]


class Minimal(BaseAuthClient):
    """A backend that offers what it must, and nothing else."""

    def __init__(self):
        self.calls = []

    def connect(self):
        self.calls.append("connect")

    def disconnect(self):
        self.calls.append("disconnect")

    def get_user(self, user_id): ...
    def list_users(self, *, limit=None, offset=None): ...
    def update_user(self, *, user_id, email=None, **kwargs): ...
    def delete_user(self, user_id): ...
    def count_users(self): ...
    def authenticate(self, request): ...
    def list_sessions(self, *, user_id=None, limit=None, offset=None): ...
    def sign_out(self, session_id): ...
    def sign_out_all(self, user_id): ...


class TestInterface:
    def test_it_has_the_45_methods_of_the_original_in_their_order(self):
        assert len(NAMES) == 45
        assert methods_of(BaseAuthClient) == NAMES

    @pytest.mark.parametrize("client", [BaseAuthClient, NativeAuthClient])
    @pytest.mark.parametrize("name", NAMES)
    def test_arguments_carry_over_exactly(self, client, name):
        """Names, kinds, defaults and order are the original's; what is added is keyword-only,
        optional, and comes last of its kind.
        """
        original = parameters(getattr(Original, name))
        ours = parameters(getattr(client, name))

        added = [one for one in ours if one not in original]
        assert [one for one in ours if one in original] == original
        assert all(kind is Parameter.KEYWORD_ONLY for _, kind, _ in added)
        assert all(default in {None, NOT_GIVEN} for _, _, default in added)
        keyword_only = [one for one in ours if one[1] is Parameter.KEYWORD_ONLY]
        assert keyword_only[len(keyword_only) - len(added) :] == added

    @pytest.mark.parametrize(
        ("name", "added"),
        [
            ("sign_in_with_magic_link", "request"),
            ("sign_in_with_oauth", "request"),
            ("refresh_token", "request"),
            ("request_password_recovery", "request"),
            ("resend_confirmation_email", "request"),
            ("set_active_org", "refresh_token"),
        ],
    )
    def test_these_take_one_argument_more(self, name, added):
        ours = inspect.signature(getattr(BaseAuthClient, name)).parameters

        assert set(ours) - set(inspect.signature(getattr(Original, name)).parameters) == {added}

    def test_nothing_else_takes_more(self):
        more = {
            name
            for name in NAMES
            if parameters(getattr(BaseAuthClient, name)) != parameters(getattr(Original, name))
        }

        assert len(more) == 6

    @pytest.mark.parametrize("client", [BaseAuthClient, NativeAuthClient])
    @pytest.mark.parametrize("name", NAMES)
    def test_every_method_is_synchronous_and_documented(self, client, name):
        method = getattr(client, name)

        assert not inspect.iscoroutinefunction(method)
        assert inspect.getdoc(method)

    @pytest.mark.parametrize("client", [NativeAuthClient, SupabaseAuthClient, WorkOSAuthClient])
    def test_what_a_client_says_nothing_of_is_what_the_interface_says(self, client):
        for name in (name for name in dir(client) if not name.startswith("_")):
            assert inspect.getdoc(getattr(client, name)), name

    def test_what_is_abstract_in_the_original_is_abstract_here(self):
        assert sorted(ABSTRACT) == sorted(BaseAuthClient.__abstractmethods__)
        with pytest.raises(TypeError, match="abstract"):
            BaseAuthClient()


class TestWhatABackendLacks:
    @pytest.mark.parametrize("name", OPTIONAL)
    def test_it_says_what_to_use_instead(self, name):
        method = getattr(Minimal(), name)
        needed = [
            p for p in inspect.signature(method).parameters.values() if p.default is Parameter.empty
        ]
        by_place = ["x" for p in needed if p.kind is Parameter.POSITIONAL_OR_KEYWORD]
        by_name = {p.name: "x" for p in needed if p.kind is Parameter.KEYWORD_ONLY}

        with pytest.raises(NotImplementedError) as caught:
            method(*by_place, **by_name)

        fact, _, advice = str(caught.value).partition(": ")
        assert fact == f"Minimal does not offer {name}"
        assert len(advice.split()) > 1
        assert name not in advice.split()

    @pytest.mark.parametrize("name", ["set_db", "set_kv", "set_email"])
    def test_a_backend_without_need_for_a_part_ignores_it(self, name):
        assert getattr(Minimal(), name)(object()) is None

    @pytest.mark.parametrize("name", ["connect", "disconnect"])
    def test_a_backend_without_connections_connects_all_the_same(self, name):
        assert getattr(BaseAuthClient, name)(Minimal()) is None


class TestContextManager:
    def test_it_is_connected_inside_of_the_block(self):
        client = Minimal()

        with client as entered:
            assert client.calls == ["connect"]

        assert entered is client
        assert client.calls == ["connect", "disconnect"]

    def test_it_disconnects_when_the_block_fails_and_lets_the_error_go_on(self):
        client = Minimal()

        with pytest.raises(KeyError), client:
            raise KeyError

        assert client.calls == ["connect", "disconnect"]


class TestAuthorization:
    def test_a_role_is_authorized_where_it_is_named(self):
        assert Minimal().is_authorized(SESSION, "admin", "editor")

    @pytest.mark.parametrize("roles", [(), ("admin",), ("edit",), ("EDITOR",)])
    def test_a_role_is_not_authorized_where_it_is_not_named(self, roles):
        assert not Minimal().is_authorized(SESSION, *roles)

    @pytest.mark.parametrize("org_id", [ORG, uuid.UUID(ORG)], ids=["str", "uuid"])
    def test_the_active_organization_matches_as_text_and_as_uuid(self, org_id):
        client = Minimal()

        assert client.is_same_org(SESSION, org_id)
        assert client.is_org_authorized(SESSION, org_id, "member", "owner")
        client.assert_same_org(SESSION, org_id)

    @pytest.mark.parametrize(
        ("active", "org_id"),
        [
            (ORG, "other"),
            (ORG, uuid.uuid4()),
            (ORG, None),
            (None, ORG),
            (None, None),
            (None, "None"),
        ],
    )
    def test_no_other_organization_matches_and_none_matches_nothing(self, active, org_id):
        client, session = Minimal(), replace(SESSION, org_id=active)

        assert not client.is_same_org(session, org_id)
        assert not client.is_org_authorized(session, org_id, "owner")
        with pytest.raises(OrgMismatchError):
            client.assert_same_org(session, org_id)

    def test_the_text_none_is_no_way_around_a_missing_organization(self):
        assert not Minimal().is_same_org(replace(SESSION, org_id="None"), None)

    @pytest.mark.parametrize("roles", [(), ("member",)])
    def test_the_right_organization_is_not_enough_without_the_role(self, roles):
        assert not Minimal().is_org_authorized(SESSION, ORG, *roles)

    def test_a_session_without_a_role_in_the_organization_has_none(self):
        session = replace(SESSION, org_role=None)

        assert not Minimal().is_org_authorized(session, ORG, "owner", "member")


def test_importing_the_interface_imports_nothing_heavy():
    """Neither database, mail, HTTP nor cryptography is loaded for the interface alone."""
    heavy = ["peewee", "jwt", "requests", "jinja2", "diskcache", "argon2", "cryptography"]
    code = f"import derp_auth_lite.base, sys; print([m for m in {heavy} if m in sys.modules])"

    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout

    assert found.strip() == "[]"
