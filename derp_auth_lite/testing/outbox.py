"""What a client has mailed, for tests to read."""

from __future__ import annotations

from ..email import SentMail
from ..native_client import NativeAuthClient
from ..supabase_client import SupabaseAuthClient

__all__ = ["Outbox"]


class Outbox:
    """The mails of a client that keeps them in memory or in a folder.

    Every look first delivers what waits. A mail has ``to``, ``subject``, ``kind``, ``link``,
    ``token``, ``text`` and ``html``.
    """

    def __init__(self, auth: NativeAuthClient | SupabaseAuthClient) -> None:
        self._auth = auth
        self._seen = 0

    def all(self, kind: str | None = None, *, to: str | None = None) -> list[SentMail]:
        """Return the mails since the last :meth:`clear`, oldest first.

        Args:
            kind: Only these: ``"confirmation"``, ``"recovery"``, ``"magic_link"``,
                ``"email_change"``, ``"password_changed"`` and so on.
            to: Only to this address.
        """
        return [
            mail
            for mail in self._delivered()[self._seen :]
            if kind in {None, mail.kind} and to in {None, mail.to}
        ]

    def last(self, kind: str | None = None, *, to: str | None = None) -> SentMail:
        """Return the newest mail; what is looked for is said as in :meth:`all`.

        Raises:
            AssertionError: There is none; the message says what there is.
        """
        found = self.all(kind, to=to)
        if not found:
            present = ", ".join(f"{mail.kind} to {mail.to}" for mail in self.all()) or "none"
            wanted = " ".join(filter(None, [kind, to and f"to {to}"])) or "any"
            raise AssertionError(f"no such mail: {wanted}; sent: {present}")
        return found[-1]

    def clear(self) -> None:
        """Leave out what was sent up to now."""
        self._seen = len(self._delivered())

    def __len__(self) -> int:
        return len(self.all())

    def _delivered(self) -> list[SentMail]:
        self._auth.deliver_mail()
        client = self._auth.email_client
        assert client is not None
        return client.sent
