"""The async original on PostgreSQL; its argument is the URL of an empty database."""

from __future__ import annotations

import asyncio
import sys

from derp.auth.models import AuthOrganization, AuthOrgMember, AuthSession, AuthUser
from derp.auth.native_client import NativeAuthClient
from derp.auth.password import Argon2Hasher
from derp.config import JWTConfig, NativeAuthConfig
from derp.orm import DatabaseEngine
from serving import serve

EMAIL, PASSWORD = "user7@example.com", "correct horse battery staple"
TYPE = "CREATE TYPE auth_provider AS ENUM ('email', 'magic_link', 'google', 'github')"
TABLES = (AuthUser, AuthSession, AuthOrganization, AuthOrgMember)


def main(url: str) -> None:
    loop = asyncio.new_event_loop()
    run = loop.run_until_complete
    # Its best: by default its client keeps no statement prepared, which is slower.
    # As its client opens it: by default no statement is kept prepared.
    engine = DatabaseEngine(url, statement_cache_size=0)
    run(engine.connect())
    for statement in ";".join((TYPE, *(table.to_ddl() for table in TABLES))).split(";"):
        if statement.strip():
            run(engine.execute(statement))
    config = NativeAuthConfig(
        jwt=JWTConfig(secret="a secret of the benchmark, long enough"), enable_confirmation=False
    )
    auth = NativeAuthClient(config)
    auth._hasher = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)
    run(auth.connect())
    auth.set_db(engine)
    for number in range(30):
        run(auth.sign_up(email=f"user{number}@example.com", password=PASSWORD))
    result = run(auth.sign_in_with_password(EMAIL, PASSWORD))
    user_id = result.user.id
    org = run(auth.create_org(name="x", slug="x", creator_id=user_id))
    tokens = [result.tokens.refresh_token]
    run(auth.sign_in_with_password(EMAIL, PASSWORD))
    session_id = run(auth.list_sessions(user_id=user_id, limit=1))[0].session_id

    async def refresh():
        tokens[0] = (await auth.refresh_token(tokens[0])).refresh_token

    async def sign_in():
        await auth.sign_in_with_password(EMAIL, PASSWORD)

    async def set_active_org():
        await auth.set_active_org(session_id=session_id, org_id=org.id)

    async def get_user():
        await auth.get_user(user_id)

    async def list_users():
        await auth.list_users(limit=10)

    serve(
        {
            "sign_in": sign_in,
            "refresh": refresh,
            "set_active_org": set_active_org,
            "get_user": get_user,
            "list_users": list_users,
        },
        run,
    )


if __name__ == "__main__":
    main(sys.argv[1])
