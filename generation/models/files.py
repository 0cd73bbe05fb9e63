"""Uploaded images, and scheduled deletions of files in storage."""

from __future__ import annotations

import re
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import Q

from rendio.common.background.due_rows import DueRow
from rendio.common.ids import uuid7
from rendio.common.querysets import OwnedQuerySet


class Upload(models.Model):
    """A user's source image. The row exists only if the file is complete."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="uploads"
    )
    mask_of = models.UUIDField(
        null=True,
        blank=True,
        help_text="The image that this is a mask of: a PNG, white where the image may change.",
    )
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    size_bytes = models.PositiveIntegerField(default=0, db_default=0)
    created_at = models.DateTimeField(editable=False)
    expires_at = models.DateTimeField(help_text="New jobs can use the image until then.")
    remove_at = models.DateTimeField(
        null=True, help_text="Next check for deletion. Empty while jobs use the image."
    )

    objects = OwnedQuerySet["Upload"].as_manager()

    class Meta:
        indexes = [
            # Uploads to check for deletion.
            models.Index(
                fields=["remove_at"],
                condition=Q(remove_at__isnull=False),
                name="upload_to_be_removed",
            )
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def name(self) -> str:
        """The file's name in storage."""
        return self.name_of(self.id, is_mask=self.mask_of is not None)

    @staticmethod
    def name_of(upload_id: UUID, *, is_mask: bool = False) -> str:
        return f"uploads/{upload_id}.{'png' if is_mask else 'jpg'}"

    @staticmethod
    def id_in(name: str) -> UUID | None:
        """The image's id from a file name. None for other files, masks included."""
        found = re.fullmatch(r"uploads/([0-9a-f-]{36})\.jpg", name)
        try:
            return UUID(found[1]) if found else None
        except ValueError:
            return None


class FileDeletion(DueRow):
    """The scheduled deletion of a file, or of a folder, whose name ends in "/".

    Written before the file if no other row may ever name the file, else in the transaction that
    drops the file's name. So every file in storage is named by a row at any time.
    """

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=100)

    class Meta:
        db_table = "generation_removal"
        # Due deletions.
        indexes = [models.Index(fields=["due_at"], name="removal_due")]

    def __str__(self) -> str:
        return self.name
