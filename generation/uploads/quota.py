"""Storage limits of uploads, for each user and for all users together.

Counted are uploads that wait for use or deletion, and pending direct uploads. Uploads of a job are
not counted: they are paid for with the job.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db.models import Count, Min, Sum

from generation.errors import UploadsUnavailable
from generation.models import FileDeletion, Upload
from rendio.common.errors import RateLimited

logger = structlog.get_logger(__name__)

# Name prefix of direct uploads that have not been checked.
INCOMING_PREFIX = "incoming/"


def require_space(*, user_id: UUID, size_bytes: int, now: datetime) -> None:
    """Require space for another image of this user, of `size_bytes`.

    Raises RateLimited until the user's earliest upload is deleted, UploadsUnavailable if the
    uploads of all users are at their limit. Exact for a user whose row the caller's transaction has
    locked. The limit of all users may be exceeded by simultaneous uploads.
    """
    pending = Upload.objects.filter(remove_at__isnull=False)
    own = pending.filter(user_id=user_id).aggregate(
        images=Count("id"), stored=Sum("size_bytes", default=0), earliest=Min("remove_at")
    )
    if _exceeds_count(own["images"], settings.UPLOADS_PER_USER) or _exceeds_bytes(
        own["stored"], size_bytes, settings.UPLOAD_BYTES_PER_USER
    ):
        raise RateLimited(retry_after=_seconds_until(own["earliest"], now=now))
    if _exceeds_bytes(_total_bytes(now=now), size_bytes, settings.UPLOAD_BYTES_IN_ALL):
        logger.error("uploads_full", limit_bytes=settings.UPLOAD_BYTES_IN_ALL)
        raise UploadsUnavailable


def _exceeds_count(images: int, limit: int) -> bool:
    return bool(limit) and images >= limit


def _exceeds_bytes(stored: int, additional: int, limit: int) -> bool:
    return bool(limit) and (stored >= limit or stored + additional > limit)


def _seconds_until(earliest: Any, *, now: datetime) -> int:
    """One minute longer than necessary, because deletions run every minute."""
    return max(int((earliest - now).total_seconds()), 0) + 60 if earliest else 60


def _total_bytes(*, now: datetime) -> int:
    stored: int = Upload.objects.filter(remove_at__isnull=False).aggregate(
        stored=Sum("size_bytes", default=0)
    )["stored"]
    expected = FileDeletion.objects.filter(name__startswith=INCOMING_PREFIX, due_at__gt=now).count()
    return stored + expected * settings.MAX_UPLOAD_BYTES
