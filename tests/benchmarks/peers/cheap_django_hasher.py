"""Django's Argon2 at the least cost."""

from __future__ import annotations

from django.contrib.auth.hashers import Argon2PasswordHasher


class Cheapest(Argon2PasswordHasher):
    time_cost, memory_cost, parallelism = 1, 8, 1
