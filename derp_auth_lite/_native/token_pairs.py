"""The tokens of a session: both halves are computed, neither is stored."""

from __future__ import annotations

from .._records import SessionRecord
from ..jwt import AccessClaims, AccessTokens, TokenPair
from ..models import SessionInfo
from .refresh_tokens import RefreshTokens

__all__ = ["TokenPairs", "session_of"]


class TokenPairs:
    """Makes the pair of a session.

    Args:
        expires_in: Seconds that an access token lives.
    """

    def __init__(
        self, access_tokens: AccessTokens, refresh_tokens: RefreshTokens, *, expires_in: int
    ) -> None:
        self._access_tokens = access_tokens
        self._refresh_tokens = refresh_tokens
        self._expires_in = expires_in

    def issue(self, session: SessionRecord) -> TokenPair:
        """Return the session's present pair."""
        session_id = str(session.id)
        in_org = session.org_role is not None
        access_token, expires_at = self._access_tokens.issue(
            user_id=str(session.user_id),
            session_id=session_id,
            role=session.user_role,
            org_id=str(session.org_id) if in_org else None,
            org_role=session.org_role,
        )
        return TokenPair(
            access_token=access_token,
            refresh_token=self._refresh_tokens.issue(session_id, session.refresh_counter),
            expires_in=self._expires_in,
            expires_at=expires_at,
        )


def session_of(claims: AccessClaims) -> SessionInfo:
    """Return what an access token alone says of its session."""
    return SessionInfo(
        user_id=claims.user_id,
        session_id=claims.session_id,
        role=claims.role,
        expires_at=claims.expires_at,
        metadata={},
        org_id=claims.org_id,
        org_role=claims.org_role,
    )
