"""Who we are to APNs: a token that we sign, the same in all processes for most of an hour.

Apple takes one for an hour, and refuses whoever makes new ones more often than every 20 minutes or
so, as each worker with its own would. So it lies in PostgreSQL, and whoever finds it too old makes
the next under the row's lock.
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
    """Our token. Opens its own transaction where a new one has to be made."""
    now = clock.now()  # Apple judges it by the time that it is there
    row = ProviderToken.objects.filter(key=_key()).first()
    if row and (token := _find_usable(row, now=now)):
        return token
    with transaction.atomic(durable=True):
        row = _lock_row(now=now)
        return _find_usable(row, now=now) or _sign(row, now=now)


def replace(expired: str) -> str | None:
    """Another one, since Apple finds this expired. None where that was so a moment ago already:
    then it is no matter of its age, but of our clock or key."""
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
        return None  # just begun, or its key is gone


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
