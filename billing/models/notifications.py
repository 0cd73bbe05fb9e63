"""App Store Server Notifications, and the cursors of their backfill."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from billing.models.purchases import Environment
from rendio.common.background.due_rows import DueRow
from rendio.common.ids import uuid7


class Notification(DueRow):
    """A genuine App Store Server Notification, stored before it is applied."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    # Apple's id: equal for repeated deliveries.
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
            # Purge of old notifications.
            models.Index(fields=["processed_at"], name="notification_processed"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.subtype}".strip()


class BackfillScope(models.TextChoices):
    """Which of Apple's notifications a backfill fetches."""

    RECENT = "recent"  # all since the last run
    FAILED = "failed"  # those that Apple recorded as undelivered, as far back as its history goes


class BackfillCursor(DueRow):
    """The position of a backfill in Apple's notification history, page by page. A new run starts
    daily.
    """

    environment = models.CharField(max_length=10, choices=Environment.choices)
    scope = models.CharField(max_length=6, choices=BackfillScope.choices)
    # The current run; both None between runs.
    from_at = models.DateTimeField("page range starts at", null=True, blank=True)
    until_at = models.DateTimeField("page range ends at", null=True, blank=True)
    pagination_token = models.TextField(blank=True)
    # Everything before this has been fetched.
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
        """Forget the position: the next step starts a new run."""
        self.from_at, self.until_at, self.pagination_token = None, None, ""
