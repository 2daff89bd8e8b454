"""User accounts and sessions for a Python program, without a server.

:func:`open_auth` is where to start. Settings are in :mod:`.config`, what comes back is in
:mod:`.models`, and what may be raised in :mod:`.exceptions`; all of it can be imported from here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .config import (
    AuthConfig,
    Config,
    DatabaseConfig,
    EmailConfig,
    GitHubOAuthConfig,
    GoogleOAuthConfig,
    JWTConfig,
    KVConfig,
    NativeAuthConfig,
    OIDCConfig,
    PasswordConfig,
    SupabaseConfig,
    ThrottleConfig,
    ValkeyConfig,
    WorkOSConfig,
)
from .exceptions import (
    AuthBackendError,
    AuthError,
    AuthNotConnectedError,
    AuthStepRequiredError,
    ConfigError,
    ConfirmationURLMissingError,
    EmailAlreadyExistsError,
    EmailNotConfirmedError,
    EmailSendError,
    IdentityAlreadyExistsError,
    InvalidCredentialsError,
    InvalidCursorError,
    InvalidEmailError,
    InvalidProfileError,
    InvalidTokenError,
    LastIdentityError,
    LastOwnerError,
    MemberAlreadyExistsError,
    OrgMemberNotFoundError,
    OrgMismatchError,
    OrgNotFoundError,
    OrgSlugConflictError,
    PasswordValidationError,
    RateLimitedError,
    SchemaTooNewError,
    SessionLimitError,
    SignupDisabledError,
    TransferError,
    UserDisabledError,
    UserNotFoundError,
)
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
    OrgInfo,
    OrgMemberInfo,
    SessionInfo,
    TokenPair,
    UndeliveredMail,
    UserInfo,
)

if TYPE_CHECKING:
    from .base import BaseAuthClient
    from .email import EmailClient
    from .factory import open_auth
    from .native_client import NativeAuthClient

__all__ = [
    "AuthBackendError",
    "AuthConfig",
    "AuthError",
    "AuthNotConnectedError",
    "AuthProvider",
    "AuthRequest",
    "AuthResult",
    "AuthStepRequiredError",
    "BaseAuthClient",
    "Config",
    "ConfigError",
    "ConfirmationURLMissingError",
    "CursorResult",
    "DatabaseConfig",
    "EmailAlreadyExistsError",
    "EmailClient",
    "EmailConfig",
    "EmailNotConfirmedError",
    "EmailSendError",
    "EventInfo",
    "Finding",
    "GitHubOAuthConfig",
    "GoogleOAuthConfig",
    "Id",
    "IdentityAlreadyExistsError",
    "IdentityInfo",
    "InvalidCredentialsError",
    "InvalidCursorError",
    "InvalidEmailError",
    "InvalidProfileError",
    "InvalidTokenError",
    "JWTConfig",
    "KVConfig",
    "LastIdentityError",
    "LastOwnerError",
    "MemberAlreadyExistsError",
    "NativeAuthClient",
    "NativeAuthConfig",
    "OAuthStart",
    "OIDCConfig",
    "OrgInfo",
    "OrgMemberInfo",
    "OrgMemberNotFoundError",
    "OrgMismatchError",
    "OrgNotFoundError",
    "OrgSlugConflictError",
    "PasswordConfig",
    "PasswordValidationError",
    "RateLimitedError",
    "SchemaTooNewError",
    "SessionInfo",
    "SessionLimitError",
    "SignupDisabledError",
    "SupabaseConfig",
    "ThrottleConfig",
    "TokenPair",
    "TransferError",
    "UndeliveredMail",
    "UserDisabledError",
    "UserInfo",
    "UserNotFoundError",
    "ValkeyConfig",
    "WorkOSConfig",
    "open_auth",
]

# Peewee and what the clients need take longer to import than everything above, and a program that
# only names an error or a record need not wait for them.
_IMPORTED_WHEN_ASKED_FOR = {
    "BaseAuthClient": ".base",
    "EmailClient": ".email",
    "NativeAuthClient": ".native_client",
    "open_auth": ".factory",
}

if not TYPE_CHECKING:  # a checker that saw it would take any misspelt name for Any

    def __getattr__(name: str) -> Any:
        """Return a public name whose module was not imported yet."""
        if name not in _IMPORTED_WHEN_ASKED_FOR:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = importlib.import_module(_IMPORTED_WHEN_ASKED_FOR[name], __name__)
        value = globals()[name] = getattr(module, name)
        return value


def __dir__() -> list[str]:
    return __all__
