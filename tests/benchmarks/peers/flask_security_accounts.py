"""Flask-Security on SQLite, through its test client; arguments as for Django."""

from __future__ import annotations

import sys
import uuid
import warnings

from flask import Flask
from flask_security import Security, SQLAlchemyUserDatastore, hash_password
from flask_security.models import fsqla_v3
from flask_sqlalchemy import SQLAlchemy
from serving import serve
from sqlalchemy import event

EMAIL, PASSWORD = "user7@example.com", "correct horse battery staple"


def main(folder: str, synchronous: str) -> None:
    warnings.simplefilter("ignore")
    app = Flask("benchmark")
    app.config.update(
        SECRET_KEY="a secret of the benchmark",
        SECURITY_PASSWORD_SALT="a salt of the benchmark",
        SECURITY_PASSWORD_HASH="argon2",
        SECURITY_PASSWORD_HASH_PASSLIB_OPTIONS={
            "argon2__time_cost": 1,
            "argon2__memory_cost": 8,
            "argon2__parallelism": 1,
        },
        SECURITY_TRACKABLE=True,
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{folder}/flask_security.db",
        WTF_CSRF_ENABLED=False,
    )
    db = SQLAlchemy(app)
    fsqla_v3.FsModels.set_db_info(db)

    class Role(db.Model, fsqla_v3.FsRoleMixin):
        pass

    class User(db.Model, fsqla_v3.FsUserMixin):
        pass

    store = SQLAlchemyUserDatastore(db, User, Role)
    Security(app, store)
    with app.app_context():

        @event.listens_for(db.engine, "connect")
        def prepare(connection, _record):
            connection.execute("PRAGMA journal_mode = wal")
            connection.execute(f"PRAGMA synchronous = {synchronous}")

        db.create_all()
        for number in range(30):
            store.create_user(
                email=f"user{number}@example.com",
                password=hash_password(PASSWORD),
                fs_uniquifier=uuid.uuid4().hex,
            )
        db.session.commit()

    def sign_in():
        answer = app.test_client().post(
            "/login?include_auth_token", json={"email": EMAIL, "password": PASSWORD}
        )
        assert answer.status_code == 200, answer.text

    serve({"sign_in": sign_in})


if __name__ == "__main__":
    main(*sys.argv[1:])
