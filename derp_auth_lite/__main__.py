"""``python -m derp_auth_lite``: the same as the command ``derp-auth-lite``."""

from __future__ import annotations

from .cli import main

raise SystemExit(main())
