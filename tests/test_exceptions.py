from __future__ import annotations

import inspect
import pickle
import re

import pytest

from derp_auth_lite import exceptions
from derp_auth_lite.exceptions import (
    AuthError,
    AuthStepRequiredError,
    ConfigError,
    EmailAlreadyExistsError,
    EmailSendError,
    InvalidCredentialsError,
    LastOwnerError,
    OrgSlugConflictError,
    RateLimitedError,
    SessionLimitError,
)

ERRORS = [
    it
    for it in vars(exceptions).values()
    if inspect.isclass(it) and it.__module__ == exceptions.__name__ and it is not AuthError
]
ARGUMENTS = {
    AuthStepRequiredError: ("mfa_challenge", "pending", {"organizations": ["a"]}),
    EmailAlreadyExistsError: ("ada@example.com",),
    LastOwnerError: (["org"],),
    OrgSlugConflictError: ("acme",),
    RateLimitedError: (12.5,),
    SessionLimitError: ("user",),
}

PARENTS = {
    "AuthBackendError": "AuthError",
    "AuthNotConnectedError": "AuthError",
    "AuthStepRequiredError": "InvalidCredentialsError",
    "ConfigError": "AuthError",
    "ConfirmationURLMissingError": "AuthError",
    "EmailAlreadyExistsError": "AuthError",
    "EmailNotConfirmedError": "InvalidCredentialsError",
    "EmailSendError": "AuthError",
    "InvalidCredentialsError": "AuthError",
    "InvalidCursorError": "AuthError",
    "InvalidEmailError": "AuthError",
    "IdentityAlreadyExistsError": "AuthError",
    "InvalidProfileError": "AuthError",
    "LastIdentityError": "AuthError",
    "InvalidTokenError": "AuthError",
    "LastOwnerError": "AuthError",
    "MemberAlreadyExistsError": "AuthError",
    "OrgMemberNotFoundError": "AuthError",
    "OrgMismatchError": "AuthError",
    "OrgNotFoundError": "AuthError",
    "OrgSlugConflictError": "AuthError",
    "PasswordValidationError": "AuthError",
    "RateLimitedError": "AuthError",
    "SchemaTooNewError": "ConfigError",
    "SessionLimitError": "AuthError",
    "SignupDisabledError": "AuthError",
    "TransferError": "AuthError",
    "UserDisabledError": "InvalidCredentialsError",
    "UserNotFoundError": "AuthError",
}


def raised(kind):
    """An error of this class as the library raises it."""
    return kind(*ARGUMENTS.get(kind, ()))


class TestVocabulary:
    def test_the_hierarchy_is_the_documented_one(self):
        assert {it.__name__: it.__base__.__name__ for it in ERRORS} == PARENTS
        assert AuthError.__base__ is Exception

    def test_all_are_listed_in_order(self):
        assert exceptions.__all__ == sorted(["AuthError", *PARENTS])

    def test_every_code_is_unique(self):
        codes = [it.code for it in [AuthError, *ERRORS]]

        assert len(set(codes)) == len(codes)

    @pytest.mark.parametrize("kind", [AuthError, *ERRORS])
    def test_every_class_has_a_code_a_message_and_a_docstring_of_its_own(self, kind):
        assert {"code", "default_message", "__doc__"} <= set(vars(kind))
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code)
        assert len(kind.default_message.split()) > 2


class TestMessage:
    @pytest.mark.parametrize("kind", [it for it in ERRORS if it is not AuthStepRequiredError])
    def test_an_error_without_a_message_has_its_class_message(self, kind):
        error = raised(kind)

        assert str(error) == error.message == kind.default_message
        assert error.code == kind.code

    @pytest.mark.parametrize("kind", [it for it in ERRORS if it is not AuthStepRequiredError])
    def test_a_message_of_its_own_replaces_it(self, kind):
        assert str(kind(*ARGUMENTS.get(kind, ()), message="Because")) == "Because"

    def test_a_code_of_its_own_replaces_the_class_code(self):
        error = AuthError("Because", "weak_password")

        assert (error.code, AuthError.code) == ("weak_password", "auth_error")

    def test_the_message_of_a_conflict_does_not_repeat_the_address(self):
        """Messages end in logs; the address is data beside it."""
        assert "ada" not in str(EmailAlreadyExistsError("ada@example.com"))


class TestData:
    def test_an_error_carries_what_a_handler_needs(self):
        step = raised(AuthStepRequiredError)

        assert raised(EmailAlreadyExistsError).email == "ada@example.com"
        assert raised(OrgSlugConflictError).slug == "acme"
        assert raised(LastOwnerError).orgs == ("org",)
        assert raised(RateLimitedError).retry_after == 12.5
        assert (step.code, step.pending_token) == ("mfa_challenge", "pending")
        assert step.details == {"organizations": ["a"]}
        assert "mfa_challenge" in str(step)

    def test_the_pending_token_of_a_step_is_not_in_its_text(self):
        step = AuthStepRequiredError("mfa_challenge", "secret-token")

        assert "secret-token" not in f"{step} {step!r}"

    def test_a_mail_that_failed_is_tried_again_unless_it_says_otherwise(self):
        assert not EmailSendError().permanent
        assert EmailSendError(permanent=True).permanent

    @pytest.mark.parametrize("kind", [AuthError, *ERRORS])
    @pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
    def test_an_error_crosses_a_process_boundary_with_all_that_it_carries(self, kind, protocol):
        error = raised(kind)
        error.add_note("seen in the worker")

        copy = pickle.loads(pickle.dumps(error, protocol))

        assert type(copy) is kind
        assert vars(copy) == vars(error)
        assert (str(copy), copy.code) == (str(error), error.code)

    def test_a_code_of_its_own_crosses_too(self):
        assert pickle.loads(pickle.dumps(AuthError("Because", "other"))).code == "other"


class TestCatching:
    def test_one_handler_takes_every_refused_sign_in(self):
        refused = {it.__name__ for it in ERRORS if issubclass(it, InvalidCredentialsError)}

        assert refused == {
            "AuthStepRequiredError",
            "EmailNotConfirmedError",
            "InvalidCredentialsError",
            "UserDisabledError",
        }

    def test_a_newer_database_is_a_matter_of_setting_up(self):
        assert issubclass(exceptions.SchemaTooNewError, ConfigError)
