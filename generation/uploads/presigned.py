"""Pictures that go to the bucket by themselves: a signed form first, the check afterwards.

What lies there unchecked is shown to nobody and given to no provider. Its removal is on record
before the form is handed out, and due when the form has long run out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.storage import default_storage

from generation.errors import StorageUnavailable
from generation.models import FileDeletion, Upload
from generation.uploads import ingest, quota
from rendio.common import wakeup
from rendio.common.errors import InvalidState, NotFound
from rendio.common.ids import uuid7

logger = structlog.get_logger(__name__)

FORM_LIFETIME = timedelta(minutes=10)
UNCHECKED_LIFETIME = timedelta(hours=1)


@dataclass(frozen=True)
class UploadForm:
    """What the app posts, with the picture as its last field `file`, to `url`."""

    direct_id: UUID
    url: str
    fields: dict[str, str]
    expires_at: datetime


def create_form(*, user_id: UUID, now: datetime) -> UploadForm:
    """A form for one picture of this user. Raises InvalidState where we have no bucket, and what
    `quota.require_space` does."""
    if not settings.MEDIA_BUCKET:
        raise InvalidState
    quota.require_space(user_id=user_id, size_bytes=0, now=now)
    direct_id = uuid7()
    name = _object_name(user_id, direct_id)
    FileDeletion.objects.create(name=name, due_at=now + UNCHECKED_LIFETIME)
    # S3Storage's own client; the base class does not know it.
    client: Any = default_storage.connection.meta.client  # type: ignore[attr-defined]
    signed = client.generate_presigned_post(
        settings.MEDIA_BUCKET,
        name,
        Conditions=[["content-length-range", 1, settings.MAX_UPLOAD_BYTES]],
        ExpiresIn=int(FORM_LIFETIME.total_seconds()),
    )
    return UploadForm(direct_id, signed["url"], signed["fields"], now + FORM_LIFETIME)


def complete_upload(*, user_id: UUID, direct_id: UUID, now: datetime) -> Upload:
    """Check what came by that form, and take it in as `ingest.ingest_bytes` does; raises what that
    does, and NotFound where nothing came, for a stranger's too."""
    name = _object_name(user_id, direct_id)
    upload = ingest.ingest_bytes(user_id=user_id, content=_read_object(name), now=now)
    # Beside the one of `start`: until the form has run out, it may be sent again.
    FileDeletion.objects.create(name=name, due_at=now)
    wakeup.enqueue_on_commit("generation.remove_due", queue="high")
    return upload


def _object_name(user_id: UUID, direct_id: UUID) -> str:
    """With the user in it: nobody else's finish finds it."""
    return f"{quota.INCOMING_PREFIX}{user_id}/{direct_id}"


def _read_object(name: str) -> bytes:
    """At most as much as is allowed, whatever the bucket let in."""
    try:
        if default_storage.size(name) <= settings.MAX_UPLOAD_BYTES:
            with default_storage.open(name) as file:
                return bytes(file.read())
    except FileNotFoundError:
        raise NotFound from None
    except Exception as error:
        logger.exception("storage_error")
        raise StorageUnavailable from error
    raise RequestDataTooBig
