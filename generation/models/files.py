"""Pictures that users sent in, and files that are to go from storage."""

from __future__ import annotations

import re
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import Q

from rendio.common.due import DueRow
from rendio.common.ids import uuid7
from rendio.common.querysets import OwnedQuerySet


class Upload(models.Model):
    """A picture of a user's to start a video from. There is one only where its file is whole."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="uploads"
    )
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    size_bytes = models.PositiveIntegerField(default=0, db_default=0)
    created_at = models.DateTimeField(editable=False)
    expires_at = models.DateTimeField(help_text="Until when a new job may start from it.")
    remove_at = models.DateTimeField(
        null=True, help_text="When to see whether it may go; None while jobs keep it."
    )

    objects = OwnedQuerySet["Upload"].as_manager()

    class Meta:
        indexes = [
            # Those that nobody may need any longer.
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
        """In our storage."""
        return self.name_of(self.id)

    @staticmethod
    def name_of(upload_id: UUID) -> str:
        return f"uploads/{upload_id}.jpg"

    @staticmethod
    def id_in(name: str) -> UUID | None:
        """The reverse; None for the name of anything else."""
        found = re.fullmatch(r"uploads/([0-9a-f-]{36})\.jpg", name)
        try:
            return UUID(found[1]) if found else None
        except ValueError:
            return None


class FileDeletion(DueRow):
    """A file that goes from storage once it is due.

    Written before the file where that might never be claimed, and in the transaction that lets go
    of it: at every moment a file has a row that names it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=100)

    class Meta:
        db_table = "generation_removal"
        # Those that are due.
        indexes = [models.Index(fields=["due_at"], name="removal_due")]

    def __str__(self) -> str:
        return self.name
