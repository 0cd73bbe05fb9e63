"""What the App Store has told of purchases."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from billing.models.purchases import Environment
from rendio.common.due import DueRow
from rendio.common.ids import uuid7


class Notification(DueRow):
    """One genuine App Store Server Notification, stored before anything comes of it."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    # Apple's: a repeated delivery has the same.
    notification_uuid = models.UUIDField("notification UUID", unique=True)
    environment = models.CharField(max_length=10, choices=Environment.choices)
    type = models.CharField(max_length=40)
    subtype = models.CharField(max_length=40, blank=True)
    transaction_id = models.CharField(max_length=50, blank=True)
    signed_payload = models.TextField(blank=True)
    from_history = models.BooleanField(
        "from backfill",
        default=False,
        help_text="Fetched from Apple's history, because the delivery was missed.",
    )
    signed_at = models.DateTimeField()
    received_at = models.DateTimeField()
    processed_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=120, blank=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["due_at"], condition=Q(due_at__isnull=False), name="notification_due"
            ),
            models.Index(fields=["transaction_id"], name="notification_by_transaction"),
            # The sweep of old ones.
            models.Index(fields=["processed_at"], name="notification_processed"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.subtype}".strip()


class BackfillScope(models.TextChoices):
    """Which of Apple's notifications a walk through their history looks at."""

    RECENT = "recent"  # all since the last walk
    FAILED = "failed"  # those that Apple believes never arrived, as far back as it knows


class BackfillCursor(DueRow):
    """A walk through Apple's history of notifications, a page at a time; it begins anew daily."""

    environment = models.CharField(max_length=10, choices=Environment.choices)
    scope = models.CharField(max_length=6, choices=BackfillScope.choices)
    # The walk that is on its way; both None between two.
    from_at = models.DateTimeField("page range starts at", null=True, blank=True)
    until_at = models.DateTimeField("page range ends at", null=True, blank=True)
    pagination_token = models.TextField(blank=True)
    # Everything before this has been looked at.
    covered_until = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    gaps_closed = models.PositiveIntegerField(
        "notifications recovered", default=0, help_text="Missed notifications found so far."
    )

    class Meta:
        verbose_name = "notification backfill"
        db_table = "billing_historywalk"
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "scope"], name="walk_one_per_environment_and_scope"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.scope}"

    def clear_position(self) -> None:
        """Be on no walk: the next step begins one."""
        self.from_at, self.until_at, self.pagination_token = None, None, ""
