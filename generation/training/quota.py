"""Storage limits of images for trainings, for each user and for all users together.

Counted are sets that wait for a training or for deletion. Sets of a running training are not
counted: they are paid for with the training.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import structlog
from django.conf import settings
from django.db.models import Count, Min, QuerySet, Sum

from generation.errors import UploadsUnavailable
from generation.models import TrainingPicture, TrainingSet
from rendio.common.errors import RateLimited

logger = structlog.get_logger(__name__)


def require_place(*, user_id: UUID, now: datetime) -> None:
    """Require that the user may have another set. Raises RateLimited until the earliest is
    deleted. Exact for a user whose row the caller's transaction has locked."""
    own = _pending().filter(user_id=user_id).aggregate(sets=Count("id"), earliest=Min("remove_at"))
    if settings.TRAINING_SETS_PER_USER and own["sets"] >= settings.TRAINING_SETS_PER_USER:
        raise RateLimited(retry_after=_seconds_until(own["earliest"], now=now))


def require_space(*, user_id: UUID, size_bytes: int, now: datetime) -> None:
    """Require space for another image of this user, of `size_bytes`. Raises and exact as
    `require_place`."""
    own = _pending().filter(user_id=user_id)
    limit = settings.TRAINING_BYTES_PER_USER
    if limit and _stored_bytes(own) + size_bytes > limit:
        earliest = own.aggregate(earliest=Min("remove_at"))["earliest"]
        raise RateLimited(retry_after=_seconds_until(earliest, now=now))


def require_space_in_all() -> None:
    """Require space among the sets of all users. Raises UploadsUnavailable. The limit may be
    exceeded by the calls of the moment."""
    limit = settings.TRAINING_BYTES_IN_ALL
    if limit and _stored_bytes(_pending()) >= limit:
        logger.error("training_sets_full", limit_bytes=limit)
        raise UploadsUnavailable


def _pending() -> QuerySet[TrainingSet]:
    return TrainingSet.objects.filter(remove_at__isnull=False)


def _stored_bytes(sets: QuerySet[TrainingSet]) -> int:
    pictures = TrainingPicture.objects.filter(set__in=sets)
    stored: int = pictures.aggregate(stored=Sum("size_bytes", default=0))["stored"]
    return stored


def _seconds_until(earliest: datetime | None, *, now: datetime) -> int:
    """One minute longer than necessary, because deletions run every minute."""
    return max(int((earliest - now).total_seconds()), 0) + 60 if earliest else 60
