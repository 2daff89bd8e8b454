"""The JSON API: what the pages do, for programs and for scripts of the application's own pages."""

from __future__ import annotations

from .blueprint import make_blueprint

__all__ = ["make_blueprint"]
