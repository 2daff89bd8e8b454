"""User accounts and sessions for a Python program, without a server."""

from __future__ import annotations
