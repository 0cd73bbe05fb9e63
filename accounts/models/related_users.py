"""Users that belong to one person."""

from __future__ import annotations

from django.db import models

from accounts.models.users import User
from rendio.common.ids import uuid7


class PersonKey(models.Model):
    """A keyed hash of something that belongs to one person: users who share a key are one person.

    A key outlives its account, and says nothing without our secret.
    """

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        User, on_delete=models.PROTECT, related_name="person_keys", db_index=False
    )
    key = models.CharField(max_length=64)
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "key"], name="accounts_person_key_once"),
        ]
        indexes = [
            # Other users with the same key.
            models.Index(fields=["key", "user"], name="accounts_person_by_key"),
            # The purge of old keys.
            models.Index(fields=["seen_at"], name="accounts_person_oldest"),
        ]

    def __str__(self) -> str:
        return f"{self.key[:8]}… of {self.user_id}"
