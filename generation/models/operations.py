"""For operators: maintenance mode, and dead letters."""

from __future__ import annotations

from uuid import UUID

from django.db import models
from django.db.models import Q
from django.utils import timezone

from rendio.common.ids import uuid7

MAINTENANCE_ID = UUID("00000000-0000-4000-8000-0000000000c0")


class Maintenance(models.Model):
    """Maintenance mode, one row. Stops new orders; existing jobs continue."""

    id = models.UUIDField("ID", primary_key=True, default=MAINTENANCE_ID, editable=False)
    is_on = models.BooleanField(default=False)
    reason = models.CharField(max_length=500, blank=True)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "maintenance"
        constraints = [
            models.CheckConstraint(condition=Q(id=MAINTENANCE_ID), name="maintenance_one_row")
        ]

    def __str__(self) -> str:
        return "Maintenance is on" if self.is_on else "Orders are taken"


class DeadKind(models.TextChoices):
    JOB = "job"  # workers died with the job repeatedly; refunded
    DELIVERY = "delivery", "Webhook"  # could not be processed
    TASK = "task"  # a Celery task that raised or was killed
    RESULT = "result"  # a finished result that could not be delivered; refunded


class DeadState(models.TextChoices):
    OPEN = "open"
    RETRIED = "retried"
    DISMISSED = "dismissed"


class DeadLetter(models.Model):
    """Work that failed permanently, kept for staff."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=10, choices=DeadKind.choices)
    subject = models.CharField(
        max_length=100, help_text="ID of the row, or name and queue of the task."
    )
    why = models.CharField("error", max_length=500)
    times = models.PositiveIntegerField("occurrences", default=1)
    first_at = models.DateTimeField("first failure at")
    last_at = models.DateTimeField("last failure at")
    state = models.CharField(max_length=10, choices=DeadState.choices, default=DeadState.OPEN)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            # A repeated failure is counted in the open letter.
            models.UniqueConstraint(
                fields=["kind", "subject"],
                condition=Q(state=DeadState.OPEN),
                name="dead_letter_one_open",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"
