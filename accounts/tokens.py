"""Access and refresh tokens of a session.

The access token is signed and carries all that a request needs: verifying it needs no query. The
refresh token is opaque: the session's id and a secret, of which only the hash is stored.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import jwt
from django.conf import settings

from rendio.common import clock

ALGORITHM = "HS256"
ACCESS = "access"
SECRET_BYTES = 32
# Tolerated clock difference between two of our machines.
CLOCK_SKEW = timedelta(seconds=60)
# Verified tokens that a process caches, about 1 KB each: a phone sends the same one for an hour,
# and verifying it takes 120 µs.
REMEMBERED = 5_000


class InvalidToken(Exception):
    """The token is not ours, or no longer valid. The reason is not disclosed."""


@dataclass(frozen=True)
class AccessClaims:
    user_id: UUID
    session_id: UUID
    language: str
    tier: str = ""
    issued_at: float = 0  # epoch seconds


@dataclass(frozen=True)
class RefreshToken:
    session_id: UUID
    secret: bytes

    @property
    def text(self) -> str:
        return base64.urlsafe_b64encode(self.session_id.bytes + self.secret).decode()

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.session_id.bytes + self.secret).hexdigest()


def issue_access(
    *, user_id: UUID, session_id: UUID, language: str, tier: str = "", now: datetime
) -> str:
    """An access token valid for settings.ACCESS_TOKEN_SECONDS."""
    key_id, secret = next(iter(settings.SESSION_SIGNING_KEYS.items()))
    issued_at = int(now.timestamp())
    claims = {
        "typ": ACCESS,
        "sub": str(user_id),
        "sid": str(session_id),
        "lang": language,
        "tier": tier,
        "iat": issued_at,
        "exp": issued_at + settings.ACCESS_TOKEN_SECONDS,
    }
    return jwt.encode(claims, secret, algorithm=ALGORITHM, headers={"kid": key_id})


def read_access(token: str) -> AccessClaims:
    """The claims of a valid access token, without a query. Raises InvalidToken.

    The signature check is cached; expiry is checked each time.
    """
    signed = _signed(token, tuple(settings.SESSION_SIGNING_KEYS.items()))
    now = clock.now().timestamp()
    if now >= signed.expires_at or signed.claims.issued_at > now + CLOCK_SKEW.total_seconds():
        raise InvalidToken
    return signed.claims


@dataclass(frozen=True)
class _Signed:
    claims: AccessClaims
    expires_at: float


@lru_cache(maxsize=REMEMBERED)
def _signed(token: str, keys: tuple[tuple[str, str], ...]) -> _Signed:
    """The claims of a token signed with one of `keys`. Raises InvalidToken, which is not cached.

    `keys` is part of the cache key: removing a key invalidates everything it signed.
    """
    try:
        key_id = str(jwt.get_unverified_header(token).get("kid"))
        claims: dict[str, Any] = jwt.decode(
            token,
            dict(keys)[key_id],
            algorithms=[ALGORITHM],
            options={"require": ["sub", "sid", "iat", "exp", "typ"], "verify_iat": False},
        )
        if claims["typ"] != ACCESS:
            raise InvalidToken
        return _Signed(
            AccessClaims(
                user_id=UUID(claims["sub"]),
                session_id=UUID(claims["sid"]),
                language=str(claims.get("lang", "")),
                tier=str(claims.get("tier", "")),
                issued_at=float(claims["iat"]),
            ),
            expires_at=float(claims["exp"]),
        )
    except (jwt.InvalidTokenError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise InvalidToken from error


def new_refresh(session_id: UUID) -> RefreshToken:
    return RefreshToken(session_id, secrets.token_bytes(SECRET_BYTES))


def read_refresh(text: str) -> RefreshToken:
    """The parts of a refresh token; its session decides whether it is valid. Raises
    InvalidToken."""
    try:
        raw = base64.b64decode(text, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidToken from error
    if len(raw) != 16 + SECRET_BYTES:
        raise InvalidToken
    return RefreshToken(UUID(bytes=raw[:16]), raw[16:])
