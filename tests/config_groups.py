"""Groups of settings with what each of them needs."""

from __future__ import annotations

from derp_auth_lite.config import (
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

__all__ = ["CLIENT", "NEEDED", "SECRET", "make"]

SECRET = "s3same-of-more-than-thirty-two-bytes"
CLIENT = {
    "client_id": "client",
    "client_secret": SECRET,
    "redirect_uri": "https://app.example/callback",
}
NEEDED = {
    AuthConfig: {"workos": WorkOSConfig(api_key=SECRET, client_id="c")},
    Config: {},
    DatabaseConfig: {"db_url": f"postgresql://ada:{SECRET}@db.example/app"},
    EmailConfig: {
        "site_name": "App",
        "site_url": "https://app.example",
        "from_email": "no-reply@app.example",
        "smtp_host": "smtp.example",
        "smtp_port": 465,
        "smtp_user": "ada",
        "smtp_password": SECRET,
    },
    GitHubOAuthConfig: CLIENT,
    GoogleOAuthConfig: CLIENT,
    JWTConfig: {"secret": SECRET},
    KVConfig: {},
    NativeAuthConfig: {"jwt": JWTConfig(secret=SECRET)},
    OIDCConfig: {"name": "okta", "issuer": "https://okta.example", **CLIENT},
    PasswordConfig: {},
    ThrottleConfig: {},
    SupabaseConfig: {
        "url": "https://x.supabase.example",
        "anon_key": SECRET,
        "service_role_key": SECRET,
        "jwt_secret": SECRET,
    },
    ValkeyConfig: {},
    WorkOSConfig: {"api_key": SECRET, "client_id": "c"},
}


def make(kind, **values):
    """A group with what it needs, and with these values."""
    return kind(**{**NEEDED[kind], **values})
