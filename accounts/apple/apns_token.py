"""The provider token for APNs: signed by us, shared by all processes for most of an hour.

Apple accepts a token for one hour, and refuses a sender who makes new ones more often than about
every 20 minutes. So the token is a row in PostgreSQL; the process that finds it too old replaces it
under the row's lock.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import jwt
import structlog
from cryptography.fernet import InvalidToken
from django.conf import settings
from django.db import transaction

from accounts.apple import identity_tokens
from accounts.models import ProviderToken
from rendio.common import clock

logger = structlog.get_logger(__name__)

LIFETIME = timedelta(minutes=45)
MIN_REPLACE_INTERVAL = timedelta(minutes=20)


def current() -> str:
    """The current token. Opens its own transaction to make a new one."""
    now = clock.now()  # Apple checks the age by its own clock
    row = ProviderToken.objects.filter(key=_key()).first()
    if row and (token := _find_usable(row, now=now)):
        return token
    with transaction.atomic(durable=True):
        row = _lock_row(now=now)
        return _find_usable(row, now=now) or _sign(row, now=now)


def replace(expired: str) -> str | None:
    """A new token, after Apple called this one expired. None if it was replaced a moment ago
    already: then the cause is our clock or key, not the token's age."""
    now = clock.now()
    with transaction.atomic(durable=True):
        row = _lock_row(now=now)
        token = _find_usable(row, now=now)
        if token and token != expired:
            return token  # another process was quicker
        if row.replaced_at and row.replaced_at > now - MIN_REPLACE_INTERVAL:
            return None
        row.replaced_at = now
        return _sign(row, now=now)


def _key() -> str:
    return f"{settings.APPLE_TEAM_ID}.{settings.APNS_KEY_ID}"


def _lock_row(*, now: datetime) -> ProviderToken:
    rows = ProviderToken.objects.select_for_update()
    return rows.get_or_create(key=_key(), defaults={"token_encrypted": "", "minted_at": now})[0]


def _find_usable(row: ProviderToken, *, now: datetime) -> str | None:
    if row.minted_at <= now - LIFETIME:
        return None
    try:
        return identity_tokens.decrypt(row.token_encrypted)
    except InvalidToken:
        return None  # a new row, or its key was removed


def _sign(row: ProviderToken, *, now: datetime) -> str:
    token = jwt.encode(
        {"iss": settings.APPLE_TEAM_ID, "iat": int(now.timestamp())},
        settings.APNS_PRIVATE_KEY,
        algorithm="ES256",
        headers={"kid": settings.APNS_KEY_ID},
    )
    row.token_encrypted, row.minted_at = identity_tokens.encrypt(token), now
    row.save(update_fields=["token_encrypted", "minted_at", "replaced_at"])
    logger.info("push_provider_token_made")
    return token
