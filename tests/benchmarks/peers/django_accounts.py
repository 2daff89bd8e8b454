"""Django's accounts and sessions on SQLite; arguments: a folder, and PRAGMA synchronous."""

from __future__ import annotations

import sys

import django
from django.conf import settings
from serving import serve

EMAIL, PASSWORD = "user7@example.com", "correct horse battery staple"


def main(folder: str, synchronous: str) -> None:
    settings.configure(
        SECRET_KEY="a secret of the benchmark",
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
        ],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": f"{folder}/django.db",
                "OPTIONS": {
                    "init_command": f"PRAGMA journal_mode=wal; PRAGMA synchronous={synchronous}"
                },
            }
        },
        PASSWORD_HASHERS=["cheap_django_hasher.Cheapest"],
        USE_TZ=True,
    )
    django.setup()
    from django.contrib.auth import authenticate, login
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore
    from django.core.management import call_command
    from django.http import HttpRequest

    call_command("migrate", verbosity=0)
    for number in range(30):
        User.objects.create_user(f"user{number}@example.com", password=PASSWORD)

    def sign_in():
        request = HttpRequest()
        request.session = SessionStore()
        user = authenticate(request, username=EMAIL, password=PASSWORD)
        assert user is not None
        login(request, user)
        request.session.save()

    serve({"sign_in": sign_in})


if __name__ == "__main__":
    main(*sys.argv[1:])
