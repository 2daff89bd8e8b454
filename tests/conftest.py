"""Settings and fixtures that the test files share."""

from __future__ import annotations

from hypothesis import settings

# Shared machines are slow at times: a run is held to its number of examples, not to a deadline.
settings.register_profile("default", deadline=None, max_examples=50, print_blob=True)
settings.load_profile("default")
