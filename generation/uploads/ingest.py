"""Ingesting an image: check, re-encode, store, then insert the Upload.

A crash at any point leaves either an Upload with a complete file, or a scheduled deletion of the
file.
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
from generation.models import FileDeletion, Upload
from generation.moderation import screening
from generation.uploads import clamav, concurrency, quota, reencoding, retention
from generation.uploads.reencoding import ReencodedImage
from rendio.common.errors import InvalidInput
from rendio.common.outbound import http

logger = structlog.get_logger(__name__)

# Longer than storing a file can take.
MAX_STORE_TIME = timedelta(minutes=10)
# An image that was fetched for an order is not used by other orders.
FETCHED_LIFETIME = timedelta(minutes=10)
FETCH_TIMEOUT_SECONDS = 20


def ingest_bytes(*, user_id: UUID, content: bytes, now: datetime) -> Upload:
    """Ingest an image and keep it for UPLOAD_HOURS. Opens its own transactions.

    Raises InvalidFile, UploadsUnavailable, StorageUnavailable, RateLimited if the user's quota is
    full (`quota.require_space`), Unauthorized if the account is closed, and what
    `screening.require_allowed_image` raises.
    """
    # Before the expensive decoding, and again before the insert.
    quota.require_space(user_id=user_id, size_bytes=0, now=now)
    with concurrency.processing_slot():
        image = _check_and_reencode(user_id, content, now=now)
    size = (image.width, image.height)
    return _store(user_id, image.jpeg, size, now=now, lifetime=_lifetime())


def ingest_mask(*, user_id: UUID, content: bytes, image_id: UUID, now: datetime) -> Upload:
    """Ingest the mask of an uploaded image and keep it as long as a new image. Opens its own
    transactions.

    Raises as `ingest_bytes`, without moderation; NotFound and InvalidInput for the image like
    `retention.get_usable`.
    """
    source = retention.Source("mask_of", image_id)
    image = retention.get_usable(source, user_id=user_id, now=now)
    quota.require_space(user_id=user_id, size_bytes=0, now=now)
    with concurrency.processing_slot():
        clamav.scan(content)
        size = (image.width, image.height)
        png = reencoding.reencode_mask(content, size=size)
    return _store(user_id, png, size, now=now, lifetime=_lifetime(), mask_of=image_id)


def _lifetime() -> timedelta:
    return timedelta(hours=settings.UPLOAD_HOURS)


def ingest_url(*, user_id: UUID, url: str, now: datetime) -> Upload:
    """Download an image and ingest it for an order.

    Raises as `ingest_bytes`; InvalidInput if the download fails; RateLimited while another
    download of this user runs.
    """
    quota.require_space(user_id=user_id, size_bytes=0, now=now)
    with concurrency.fetch_slot(user_id):
        content = _download(url)
    with concurrency.processing_slot():
        image = _check_and_reencode(user_id, content, now=now)
    size = (image.width, image.height)
    return _store(user_id, image.jpeg, size, now=now, lifetime=FETCHED_LIFETIME)


def _download(url: str) -> bytes:
    buffer = BytesIO()
    try:
        response = http.download(
            url,
            buffer,
            allowed_hosts=None,
            max_bytes=settings.MAX_UPLOAD_BYTES,
            timeout_seconds=FETCH_TIMEOUT_SECONDS,
        )
    except http.TooLarge:
        raise InvalidInput(fields={"image_url": [_("Too large.")]}) from None
    except (http.Refused, http.NotSent, http.NoAnswer) as error:
        logger.info("external_image_not_fetched", error=type(error).__name__)
        raise InvalidInput(fields={"image_url": [_("Could not be fetched.")]}) from error
    if response.status != 200:
        raise InvalidInput(fields={"image_url": [_("Could not be fetched.")]})
    return buffer.getvalue()


def _check_and_reencode(user_id: UUID, content: bytes, *, now: datetime) -> ReencodedImage:
    # The virus scan runs before our own decoders.
    clamav.scan(content)
    image = reencoding.reencode(content)
    screening.require_allowed_image(user_id=user_id, jpeg=image.jpeg, now=now)
    return image


def _store(
    user_id: UUID,
    content: bytes,
    size: tuple[int, int],
    *,
    now: datetime,
    lifetime: timedelta,
    mask_of: UUID | None = None,
) -> Upload:
    upload = Upload(
        user_id=user_id,
        mask_of=mask_of,
        width=size[0],
        height=size[1],
        size_bytes=len(content),
        created_at=now,
        expires_at=now + lifetime,
        remove_at=now + lifetime,
    )
    scheduled = save_file(upload.name, content, now=now)
    with transaction.atomic(durable=True):
        # An account that is being deleted or merged gets no more uploads.
        account_queries.lock_open_account(user_id)
        # Under the account's lock, so that simultaneous uploads are counted one after the other.
        quota.require_space(user_id=user_id, size_bytes=upload.size_bytes, now=now)
        upload.save(force_insert=True)
        keep_file(scheduled)
    logger.info("upload_stored", upload_id=str(upload.id), bytes=len(content))
    return upload


def save_file(name: str, content: bytes, *, now: datetime) -> FileDeletion:
    """Store a file. Its deletion is scheduled first, until `keep_file`. Raises
    StorageUnavailable."""
    scheduled = FileDeletion.objects.create(name=name, due_at=now + MAX_STORE_TIME)
    try:
        default_storage.save(name, ContentFile(content))
    except Exception as error:
        logger.exception("storage_error")
        raise StorageUnavailable from error
    return scheduled


def keep_file(scheduled: FileDeletion) -> None:
    """Cancel the deletion of a stored file, in the transaction that inserts its row. Raises
    StorageUnavailable if the storage took so long that the deletion has begun."""
    same = FileDeletion.objects.filter(id=scheduled.id, due_at=scheduled.due_at)
    if not same.delete()[0]:
        raise StorageUnavailable
