"""Moving accounts: out as JSON Lines, and in from those, or from what other systems keep."""

from __future__ import annotations

from .export import count_rows, export_lines
from .load import Existing, Report, load
from .read import read_lines
from .sources import SOURCES, Options, read_source
from .tables import read_derp_database

__all__ = [
    "SOURCES",
    "Existing",
    "Options",
    "Report",
    "count_rows",
    "export_lines",
    "load",
    "read_derp_database",
    "read_lines",
    "read_source",
]
