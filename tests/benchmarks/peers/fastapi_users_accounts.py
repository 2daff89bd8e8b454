"""fastapi-users with tokens in the database, on SQLite; arguments as for Django."""

from __future__ import annotations

import asyncio
import sys
import uuid

from fastapi.security import OAuth2PasswordRequestForm
from fastapi_users import BaseUserManager, UUIDIDMixin, schemas
from fastapi_users.authentication.strategy.db import DatabaseStrategy
from fastapi_users.password import PasswordHelper
from fastapi_users_db_sqlalchemy import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from fastapi_users_db_sqlalchemy.access_token import (
    SQLAlchemyAccessTokenDatabase,
    SQLAlchemyBaseAccessTokenTableUUID,
)
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from serving import serve
from sqlalchemy import event
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

EMAIL, PASSWORD = "user7@example.com", "correct horse battery staple"
CHEAPEST = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)


class Base(DeclarativeBase):
    pass


class User(SQLAlchemyBaseUserTableUUID, Base):
    pass


class AccessToken(SQLAlchemyBaseAccessTokenTableUUID, Base):
    pass


class Manager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    pass


def main(folder: str, synchronous: str) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{folder}/fastapi_users.db")
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    helper = PasswordHelper(PasswordHash((CHEAPEST,)))

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection, _record):
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = wal")
        cursor.execute(f"PRAGMA synchronous = {synchronous}")
        cursor.close()

    async def begin():
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with sessions() as session:
            manager = Manager(SQLAlchemyUserDatabase(session, User), helper)
            for number in range(30):
                await manager.create(
                    schemas.BaseUserCreate(email=f"user{number}@example.com", password=PASSWORD)
                )

    async def sign_in():
        async with sessions() as session:
            manager = Manager(SQLAlchemyUserDatabase(session, User), helper)
            form = OAuth2PasswordRequestForm(username=EMAIL, password=PASSWORD)
            user = await manager.authenticate(form)
            tokens = SQLAlchemyAccessTokenDatabase(session, AccessToken)
            await DatabaseStrategy(tokens, lifetime_seconds=3600).write_token(user)

    run = asyncio.new_event_loop().run_until_complete
    run(begin())
    serve({"sign_in": sign_in}, run)


if __name__ == "__main__":
    main(*sys.argv[1:])
