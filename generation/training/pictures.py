"""Images for a training: check, re-encode, store, then insert each TrainingPicture.

An image that cannot be used does not fail the others. A crash at any point leaves for each image
either a row with a complete file, or a scheduled deletion of the file.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _
from PIL import Image

from accounts import queries as account_queries
from generation.errors import (
    ContentRejected,
    InvalidFile,
    ModerationUnavailable,
    StorageUnavailable,
    UploadsUnavailable,
)
from generation.models import (
    PictureProblem,
    Sanction,
    TrainingPicture,
    TrainingSet,
)
from generation.moderation import screening
from generation.providers.parsing import clean_text
from generation.training import quota
from generation.training.picture_checks import Measurements, find_problems, measure
from generation.uploads import clamav, concurrency, ingest, reencoding
from generation.uploads.reencoding import ReencodedImage
from rendio.common.errors import InvalidInput, NotFound, RateLimited
from rendio.common.ids import uuid7
from rendio.common.web.parsers import SentFile

# Of a call, and usable ones of a set: the most that trainers recommend is 20.
MAX_PICTURES = 40
# Rows of a set, those of images with problems included.
MAX_ROWS = 2 * MAX_PICTURES
# No trainer uses more than 1024 pixels of the shorter side.
STORED_SIDE_PX = 1536
# What stops a call after its first image; the phone sends the rest again.
_TEMPORARY = (UploadsUnavailable, ModerationUnavailable, StorageUnavailable, RateLimited)


@dataclass(frozen=True)
class CheckedFile:
    """What became of a file. `picture` is None if it is not stored, then `problem` says why.
    `detail` is a translated text about a file that is no image."""

    name: str
    picture: TrainingPicture | None = None
    problem: PictureProblem | None = None
    detail: str = ""


@dataclass(frozen=True)
class UploadedSet:
    """The files of one call, in order, and the set. `training_set` is None if the call stored
    nothing and named no set."""

    training_set: TrainingSet | None
    files: list[CheckedFile]


@dataclass(frozen=True)
class _Prepared:
    image: ReencodedImage
    measured: Measurements
    content_hash: str

    @property
    def checks(self) -> dict[str, Any]:
        return self.measured.as_json() | {"content": self.content_hash}


def add_pictures(
    *, user_id: UUID, files: Sequence[SentFile], set_id: UUID | None, now: datetime
) -> UploadedSet:
    """Check and store images, in a new set or in one of the user's. Opens its own transactions.

    A file that the set has already is not stored again, so a call may be repeated. What has no turn
    within TRAINING_UPLOAD_SECONDS is not checked.

    Raises NotFound and InvalidInput for the set; what `ingest.ingest_bytes` raises, if it concerns
    the first file or the account.
    """
    training_set = _get_open_set(user_id, set_id, now=now) if set_id else None
    quota.require_space_in_all()
    if training_set is None:
        quota.require_place(user_id=user_id, now=now)
    upload = _Upload(user_id, training_set, now=now)
    ends_at = time.monotonic() + settings.TRAINING_UPLOAD_SECONDS
    checked: list[CheckedFile] = []
    with concurrency.training_slot(user_id):
        for file in files:
            if time.monotonic() > ends_at:
                break
            try:
                checked.append(upload.add(file))
            except _TEMPORARY:
                if not checked:
                    raise
                break
    rest = files[len(checked) :]
    checked += [CheckedFile(file.name, problem=PictureProblem.NOT_CHECKED) for file in rest]
    return UploadedSet(upload.training_set, checked)


def _get_open_set(user_id: UUID, set_id: UUID, *, now: datetime) -> TrainingSet:
    """The user's set. Raises like `_require_open`."""
    found = TrainingSet.objects.owned_by(user_id).filter(id=set_id).first()
    return _require_open(found, now=now)


def _require_open(training_set: TrainingSet | None, *, now: datetime) -> TrainingSet:
    """The set, if images can be added to it. Raises NotFound for None, InvalidInput."""
    if training_set is None:
        raise NotFound
    if training_set.remove_at is None:
        raise InvalidInput(fields={"set_id": [_("A training uses these images.")]})
    if training_set.expires_at <= now:
        raise InvalidInput(fields={"set_id": [_("These images have expired.")]})
    return training_set


class _Upload:
    """One call. `training_set` is None until the first image of a new set is stored."""

    def __init__(self, user_id: UUID, training_set: TrainingSet | None, *, now: datetime) -> None:
        self.user_id, self.training_set, self.now = user_id, training_set, now
        self.set_id = training_set.id if training_set else uuid7()

    def add(self, file: SentFile) -> CheckedFile:
        if file.content is None:
            return CheckedFile(file.name, problem=PictureProblem.TOO_LARGE)
        content_hash = hashlib.sha256(file.content).hexdigest()
        earlier = TrainingPicture.objects.filter(
            set_id=self.set_id, checks__content=content_hash
        ).first()
        if earlier:
            return CheckedFile(file.name, earlier)
        if TrainingPicture.objects.filter(set_id=self.set_id).count() >= MAX_ROWS:
            return CheckedFile(file.name, problem=PictureProblem.SET_FULL)
        try:
            prepared = self._prepare(file.content, content_hash)
        except InvalidFile as refusal:
            detail = str(refusal.details["problem"])
            return CheckedFile(file.name, problem=PictureProblem.UNREADABLE, detail=detail)
        except ContentRejected as refusal:
            if refusal.details["step"] in {Sanction.HOLD, Sanction.BAN}:
                raise
            return CheckedFile(file.name, problem=PictureProblem.NOT_ALLOWED)
        picture = self._store(prepared, file.name)
        if picture is None:
            return CheckedFile(file.name, problem=PictureProblem.SET_FULL)
        return CheckedFile(file.name, picture)

    def _prepare(self, content: bytes, content_hash: str) -> _Prepared:
        quota.require_space(user_id=self.user_id, size_bytes=0, now=self.now)
        with concurrency.processing_slot():
            # The virus scan runs before our own decoders.
            clamav.scan(content)
            image, pixels = reencoding.decode(content, _shrink_and_encode)
            screening.require_allowed_image(user_id=self.user_id, jpeg=image.jpeg, now=self.now)
            return _Prepared(image, measure(pixels), content_hash)

    def _store(self, prepared: _Prepared, file_name: str) -> TrainingPicture | None:
        """The stored image; None if the set is full."""
        image = prepared.image
        picture = TrainingPicture(
            set_id=self.set_id,
            file_name=clean_text(file_name, max_length=120),
            width=image.width,
            height=image.height,
            size_bytes=len(image.jpeg),
            checks=prepared.checks,
        )
        scheduled = ingest.save_file(picture.name, image.jpeg, now=self.now)
        with transaction.atomic(durable=True):
            # An account that is being deleted or merged gets no more images.
            account_queries.lock_open_account(self.user_id)
            training_set = self._lock_or_create_set()
            if not self._insert(picture, training_set, prepared.measured):
                return None  # and the file is deleted when its deletion is due
            ingest.keep_file(scheduled)
        self.training_set = training_set
        return picture

    def _lock_or_create_set(self) -> TrainingSet:
        """Joins the caller's transaction, which has locked the account. Raises if the set was
        deleted, or a training has begun, since the call began."""
        if self.training_set is None:
            quota.require_place(user_id=self.user_id, now=self.now)
            lifetime = timedelta(hours=settings.TRAINING_SET_HOURS)
            return TrainingSet.objects.create(
                id=self.set_id,
                user_id=self.user_id,
                created_at=self.now,
                expires_at=self.now + lifetime,
                remove_at=self.now + lifetime,
            )
        locked = TrainingSet.objects.owned_by(self.user_id).select_for_update()
        return _require_open(locked.filter(id=self.set_id).first(), now=self.now)

    def _insert(
        self, picture: TrainingPicture, training_set: TrainingSet, measured: Measurements
    ) -> bool:
        """Whether the set has a place for the image. Joins the caller's transaction."""
        quota.require_space(user_id=self.user_id, size_bytes=picture.size_bytes, now=self.now)
        others = list(training_set.pictures.all())
        usable = [other for other in others if not other.problems_for(None)]
        if len(usable) >= MAX_PICTURES or len(others) >= MAX_ROWS:
            return False
        picture.problems = find_problems(
            measured, other_hashes=[other.checks["hash"] for other in usable]
        )
        picture.position = 1 + max((other.position for other in others), default=0)
        picture.save(force_insert=True)
        return True


def _shrink_and_encode(image: Image.Image) -> tuple[ReencodedImage, Image.Image]:
    """The image as it is stored, and its pixels."""
    scale = STORED_SIDE_PX / min(image.size)
    if scale < 1:
        size = (round(image.width * scale), round(image.height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS)
    return reencoding.encode_jpeg(image), image
