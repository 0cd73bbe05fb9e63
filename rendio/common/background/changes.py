"""Announcements of changes to a user's jobs or balance, for the event streams.

At most once, and dispensable: listeners read the rows, and read them again every few seconds
anyway (rendio.events). An announcement therefore names a user and nothing else. It is published
after the commit, by a background thread: one Redis command for all changes of a few milliseconds.
No request waits for Redis, and no failure of Redis reaches a request.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, partial
from uuid import UUID

import redis
import structlog
from django.conf import settings
from django.db import transaction

from rendio.common.background.batches import BatchSender

logger = structlog.get_logger(__name__)

CHANNEL = "rendio:changes"
# A Redis that hangs delays each message by its client's time-outs.
LATE_SECONDS = 30
_ID_BYTES = 16


def announce_on_commit(user_id: UUID) -> None:
    """Announce that something of the user changed, once the transaction has committed, or at once
    where no transaction is open."""
    transaction.on_commit(partial(_sender.add, user_id), robust=True)


def read_message(message: bytes) -> list[UUID]:
    """The users that a message names; empty for a message that is not ours."""
    if len(message) % _ID_BYTES:
        return []
    return [
        UUID(bytes=message[start : start + _ID_BYTES])
        for start in range(0, len(message), _ID_BYTES)
    ]


def _publish(user_ids: Iterable[UUID]) -> None:
    try:
        _redis().publish(CHANNEL, b"".join(user_id.bytes for user_id in user_ids))
    except redis.RedisError as error:
        logger.warning("changes_not_announced", error=type(error).__name__)


@cache
def _redis() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, **settings.REDIS_CLIENT_OPTIONS)


_sender: BatchSender[UUID] = BatchSender("changes", _publish, late_seconds=LATE_SECONDS)
