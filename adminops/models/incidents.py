"""Incidents: many jobs refunded or failed at once."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from adminops.models.audit import REASON_MAX
from rendio.common.due import DueRow
from rendio.common.ids import uuid7


class IncidentKind(models.TextChoices):
    """The jobs that an incident refunds. Failed jobs are refunded already: a database constraint
    allows no failed job without a refund."""

    STUCK = "stuck", "Going on: end and refund them"
    DELIVERED = "delivered", "Delivered, and not worth it: refund them"


class Incident(DueRow):
    """The filter of an incident's jobs, and its progress. Due until all jobs are processed."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    which = models.CharField(max_length=10, choices=IncidentKind.choices)
    # Empty: any.
    provider = models.CharField(max_length=20, blank=True)
    model = models.ForeignKey(
        "generation.Model", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    route = models.ForeignKey(
        "generation.Route", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    from_at = models.DateTimeField(help_text="Jobs that were ordered from then on,")
    until_at = models.DateTimeField(help_text="and before then.")
    reason = models.CharField(max_length=REASON_MAX)
    notify = models.BooleanField(
        default=False, db_default=False, help_text="Each customer is told once, on the iPhone."
    )
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    started_at = models.DateTimeField()
    expected_jobs = models.PositiveIntegerField()
    expected_credits = models.PositiveIntegerField()
    # Updated in the transaction of the job that is counted.
    settled_jobs = models.PositiveIntegerField(default=0)
    settled_credits = models.PositiveIntegerField(default=0)
    broken_jobs = models.PositiveIntegerField(default=0, help_text="Left out; the log says why.")
    told_customers = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Of those with a phone that can be told."
    )
    after_id = models.UUIDField(null=True, help_text="The last job that was looked at.")
    ended_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="incident_due"),
        ]

    def __str__(self) -> str:
        return f"{self.which} jobs of {self.from_at:%Y-%m-%d %H:%M}"
