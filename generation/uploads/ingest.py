"""Taking a picture in: checked, drawn anew, stored, and only then there.

A crash at any line leaves either an upload whose file is whole, or a row that has the file removed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from io import BytesIO
from uuid import UUID

import structlog
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils.translation import gettext as _

from accounts import queries as account_queries
from generation.errors import StorageUnavailable
from generation.models import Removal, Upload
from generation.moderation import screening
from generation.uploads import clamav, concurrency, images, quota
from generation.uploads.images import Picture
from rendio.common import http
from rendio.common.errors import InvalidInput

logger = structlog.get_logger(__name__)

# Longer than storing a file can take.
STORING = timedelta(minutes=10)
# What was fetched for one order is of use to no other.
FETCHED_LIVES = timedelta(minutes=10)
FETCH_SECONDS = 20


def take_in(*, user_id: UUID, content: bytes, now: datetime) -> Upload:
    """Keep a picture for UPLOAD_HOURS. Opens transactions of its own.

    Raises InvalidFile, UploadsUnavailable, StorageUnavailable, RateLimited where the user has no
    room for another (room.require), what moderation raises (`screening.admit_picture`), and
    Unauthorized where the account is gone.
    """
    # Before the work of drawing it, and again when it is kept.
    quota.require(user_id=user_id, size_bytes=0, now=now)
    with concurrency.for_picture():
        picture = _checked(user_id, content, now=now)
    return _keep(user_id, picture, now=now, lives=timedelta(hours=settings.UPLOAD_HOURS))


def fetch(*, user_id: UUID, url: str, now: datetime) -> Upload:
    """Take in the picture that lies at a foreign address, for an order that is about to be made.

    Raises what `take_in` does, InvalidInput where it cannot be had, and RateLimited while another
    is being fetched for this user.
    """
    quota.require(user_id=user_id, size_bytes=0, now=now)
    with concurrency.for_fetch(user_id):
        content = _fetched(url)
    with concurrency.for_picture():
        picture = _checked(user_id, content, now=now)
    return _keep(user_id, picture, now=now, lives=FETCHED_LIVES)


def _fetched(url: str) -> bytes:
    into = BytesIO()
    try:
        answer = http.download(
            url,
            into,
            allowed_hosts=None,
            max_bytes=settings.MAX_UPLOAD_BYTES,
            timeout_seconds=FETCH_SECONDS,
        )
    except http.TooLarge:
        raise InvalidInput(fields={"image_url": [_("Too large.")]}) from None
    except (http.Refused, http.NotSent, http.NoAnswer) as error:
        logger.info("picture_not_fetched", error=type(error).__name__)
        raise InvalidInput(fields={"image_url": [_("Could not be fetched.")]}) from error
    if answer.status != 200:
        raise InvalidInput(fields={"image_url": [_("Could not be fetched.")]})
    return into.getvalue()


def _checked(user_id: UUID, content: bytes, *, now: datetime) -> Picture:
    # Before our own decoders see it.
    clamav.check(content)
    picture = images.draw_anew(content)
    screening.admit_picture(user_id=user_id, jpeg=picture.jpeg, now=now)
    return picture


def _keep(user_id: UUID, picture: Picture, *, now: datetime, lives: timedelta) -> Upload:
    upload = Upload(
        user_id=user_id,
        width=picture.width,
        height=picture.height,
        size_bytes=len(picture.jpeg),
        created_at=now,
        expires_at=now + lives,
        remove_at=now + lives,
    )
    unless_kept = Removal.objects.create(name=upload.name, due_at=now + STORING)
    try:
        default_storage.save(upload.name, ContentFile(picture.jpeg))
    except Exception as error:
        logger.exception("storage_error")
        raise StorageUnavailable from error
    with transaction.atomic(durable=True):
        # What is being deleted or merged at this moment gets nothing more.
        account_queries.hold_account(user_id)
        # Under the account's lock, so that pictures sent at once are counted one after the other.
        quota.require(user_id=user_id, size_bytes=upload.size_bytes, now=now)
        upload.save(force_insert=True)
        kept = Removal.objects.filter(id=unless_kept.id, due_at=unless_kept.due_at).delete()[0]
        if not kept:
            raise StorageUnavailable  # it took so long that its removal has begun
    logger.info("picture_taken_in", upload_id=str(upload.id), bytes=len(picture.jpeg))
    return upload
