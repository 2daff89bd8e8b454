"""The pages: one blueprint, which every application registers under its own prefix."""

from __future__ import annotations

from . import account, enter, links, mails, oauth, orgs
from .blueprint import pages

__all__ = ["account", "enter", "links", "mails", "oauth", "orgs", "pages"]
