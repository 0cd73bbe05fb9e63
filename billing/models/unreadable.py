"""Payloads that Apple signed for our app and we cannot read."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from rendio.common.background.due_rows import DueRow
from rendio.common.ids import uuid7


class PayloadKind(models.TextChoices):
    NOTIFICATION = "notification"
    TRANSACTION = "transaction"
    RENEWAL = "renewal", "Renewal info"


class PayloadQuerySet(models.QuerySet["UnreadablePayload"]):
    def open(self) -> PayloadQuerySet:
        """Payloads that need staff."""
        return self.filter(closed_at=None)


class UnreadablePayload(DueRow):
    """A payload that Apple signed and we could not read, stored for staff.

    Due until it can be read, usually after a release, or staff dismiss it. A worker reads it again
    and applies it like any other.
    """

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    key = models.CharField(
        max_length=120,
        unique=True,
        help_text="Apple's ID, or the hash of the content. Identical payloads share one row.",
    )
    kind = models.CharField(max_length=12, choices=PayloadKind.choices)
    problem = models.CharField(max_length=120, help_text="The missing or invalid field.")
    transaction_id = models.CharField(
        "transaction ID", max_length=50, blank=True, help_text="From the payload."
    )
    signed_payload = models.TextField(blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="unreadable_payloads",
        help_text="The user whose phone sent it. Empty if Apple sent it.",
    )
    times = models.PositiveIntegerField(
        "occurrences", default=1, help_text="Number of times received."
    )
    first_at = models.DateTimeField("first received at")
    last_at = models.DateTimeField("last received at")
    closed_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=120, blank=True, help_text="Reason of the closing.")

    objects = PayloadQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(
                fields=["due_at"], condition=Q(due_at__isnull=False), name="unreadable_due"
            ),
            models.Index(fields=["transaction_id"], name="unreadable_by_transaction"),
            # Count of open payloads.
            models.Index(fields=["first_at"], condition=Q(closed_at=None), name="unreadable_open"),
            # Purge of closed payloads.
            models.Index(
                fields=["closed_at"], condition=Q(closed_at__isnull=False), name="unreadable_closed"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.problem}"
