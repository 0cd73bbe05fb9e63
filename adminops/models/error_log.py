"""The error log."""

from __future__ import annotations

from django.db import models
from django.db.models import F


class ErrorLog(models.Model):
    """An error response to a caller. Contains nothing that was sent: no prompts, no tokens."""

    at = models.DateTimeField("time")
    code = models.CharField(max_length=8)
    status = models.PositiveSmallIntegerField()
    endpoint = models.CharField(max_length=100)
    # Not a foreign key: the user may be deleted, and the check of a foreign key takes a lock.
    user_id = models.UUIDField(null=True)
    request_id = models.CharField("request ID", max_length=64)

    class Meta:
        verbose_name = "error log entry"
        verbose_name_plural = "error log"
        indexes = [
            # The entries of one code, newest first.
            models.Index(F("code"), F("id").desc(), name="error_log_by_code"),
            # The entries of a user.
            models.Index(
                F("user_id"),
                F("id").desc(),
                name="error_log_by_user",
                condition=models.Q(user_id__isnull=False),
            ),
            # The request id that a customer quotes.
            models.Index(fields=["request_id"], name="error_log_by_request"),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.endpoint}"
