"""The one place that sends, retries, and translates failures."""

from __future__ import annotations

from .answers import from_timestamp, is_timestamp, text_or_none, time_or_none
from .client import ErrorTranslator, HTTPClient, HTTPResult
from .remembered import Remembered
from .values import parse_json, quote_id, require_https, retry_after, whole_number

__all__ = [
    "ErrorTranslator",
    "HTTPClient",
    "HTTPResult",
    "Remembered",
    "from_timestamp",
    "is_timestamp",
    "parse_json",
    "quote_id",
    "require_https",
    "retry_after",
    "text_or_none",
    "time_or_none",
    "whole_number",
]
