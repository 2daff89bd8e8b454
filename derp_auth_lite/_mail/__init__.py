"""What the mail client is made of: links, texts, templates, messages and ways to send them."""

from __future__ import annotations
