"""Incidents: many jobs refunded or failed at once."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from adminops.models.audit import REASON_MAX
from rendio.common.background.due_rows import DueRow
from rendio.common.ids import uuid7


class IncidentKind(models.TextChoices):
    """The jobs that an incident refunds. Failed jobs are refunded already: a database constraint
    allows no failed job without a refund."""

    STUCK = "stuck", "Running: fail and refund"
    DELIVERED = "delivered", "Completed: refund"


class Incident(DueRow):
    """The filter of an incident's jobs, and its progress. Due until all jobs are processed."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    kind = models.CharField("jobs", max_length=10, choices=IncidentKind.choices, db_column="which")
    # Empty: any.
    provider = models.CharField(max_length=20, blank=True)
    model = models.ForeignKey(
        "generation.GenerationModel",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    route = models.ForeignKey(
        "generation.ProviderRoute",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    from_at = models.DateTimeField("from", help_text="Start of the order time range.")
    until_at = models.DateTimeField("until", help_text="End of the order time range, exclusive.")
    reason = models.CharField(max_length=REASON_MAX)
    notify = models.BooleanField(
        "notify customers",
        default=False,
        db_default=False,
        help_text="One push notification per customer.",
    )
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    started_at = models.DateTimeField()
    expected_jobs = models.PositiveIntegerField()
    expected_credits = models.PositiveIntegerField()
    # Updated in the transaction of the job that is counted.
    settled_jobs = models.PositiveIntegerField("refunded jobs", default=0)
    settled_credits = models.PositiveIntegerField("refunded credits", default=0)
    broken_jobs = models.PositiveIntegerField(
        "skipped jobs", default=0, help_text="Skipped after an error. See the log."
    )
    told_customers = models.PositiveIntegerField(
        "notified customers",
        default=0,
        db_default=0,
        help_text="Customers with a registered device.",
    )
    after_id = models.UUIDField(null=True, help_text="The last processed job.")
    ended_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="incident_due"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} jobs of {self.from_at:%Y-%m-%d %H:%M}"
