"""Alerts, and heartbeats of our processes."""

from __future__ import annotations

from django.db import models

from rendio.common.background.due_rows import DueRow


class Alert(DueRow):
    """A message to the operators, sent once per key; due until it is sent."""

    key = models.CharField(max_length=120, unique=True)
    text = models.CharField(max_length=500)
    raised_at = models.DateTimeField()
    mailed_at = models.DateTimeField("e-mailed at", null=True, blank=True)
    called_at = models.DateTimeField(
        "webhook sent at", null=True, blank=True, help_text="Delivered to ALERT_WEBHOOK_URL."
    )

    class Meta:
        # Due alerts.
        indexes = [models.Index(fields=["due_at"], name="alert_due")]

    def __str__(self) -> str:
        return self.key


class Heartbeat(models.Model):
    """The last heartbeat of a process in one role: the worker of a queue, scheduler or web."""

    process = models.CharField(max_length=200)
    role = models.CharField(max_length=20)
    beaten_at = models.DateTimeField()
    # Problems of its background threads, reported by the process.
    problem = models.CharField(max_length=500, default="", db_default="", blank=True)
    skew_seconds = models.FloatField(
        default=0,
        db_default=0,
        help_text="Clock of the machine minus PostgreSQL's clock, in seconds.",
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["process", "role"], name="heartbeat_one_per_role")
        ]

    def __str__(self) -> str:
        return f"{self.process} for {self.role}"
