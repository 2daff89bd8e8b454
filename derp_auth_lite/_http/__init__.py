"""The one place that sends, retries, and translates failures."""

from __future__ import annotations

from .client import ErrorTranslator, HTTPClient, HTTPResult
from .remembered import Remembered
from .values import parse_json, quote_id, require_https, retry_after

__all__ = [
    "ErrorTranslator",
    "HTTPClient",
    "HTTPResult",
    "Remembered",
    "parse_json",
    "quote_id",
    "require_https",
    "retry_after",
]
