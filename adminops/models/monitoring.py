"""What people have to hear of, and who of our processes is there."""

from __future__ import annotations

from django.db import models

from rendio.common.due import DueRow


class Alert(DueRow):
    """What a person has to hear of, once; due until it has gone out."""

    key = models.CharField(max_length=120, unique=True)
    text = models.CharField(max_length=500)
    raised_at = models.DateTimeField()
    mailed_at = models.DateTimeField(null=True, blank=True)
    called_at = models.DateTimeField(null=True, blank=True, help_text="ALERT_WEBHOOK_URL took it.")

    class Meta:
        # Those that are due.
        indexes = [models.Index(fields=["due_at"], name="alert_due")]

    def __str__(self) -> str:
        return self.key


class Heartbeat(models.Model):
    """When a process was last there in one of its roles: a queue's worker, or the scheduler."""

    process = models.CharField(max_length=200)
    role = models.CharField(max_length=20)
    beaten_at = models.DateTimeField()
    # What is wrong with its background threads, as it says itself.
    problem = models.CharField(max_length=500, default="", db_default="", blank=True)
    skew_seconds = models.FloatField(
        default=0,
        db_default=0,
        help_text="How far the clock of its machine is ahead of PostgreSQL's.",
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["process", "role"], name="heartbeat_one_per_role")
        ]

    def __str__(self) -> str:
        return f"{self.process} for {self.role}"
