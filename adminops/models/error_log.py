"""What callers were refused."""

from __future__ import annotations

from django.db import models
from django.db.models import F


class ErrorLog(models.Model):
    """A refusal that a caller met. What was sent is not in it: neither prompts nor tokens."""

    at = models.DateTimeField()
    code = models.CharField(max_length=8)
    status = models.PositiveSmallIntegerField()
    endpoint = models.CharField(max_length=100)
    # An id without a foreign key: the user may go, and to look whether it is there costs a lock.
    user_id = models.UUIDField(null=True)
    request_id = models.CharField(max_length=64)

    class Meta:
        indexes = [
            # One code's, newest first.
            models.Index(F("code"), F("id").desc(), name="error_log_by_code"),
            # What happened to this user.
            models.Index(
                F("user_id"),
                F("id").desc(),
                name="error_log_by_user",
                condition=models.Q(user_id__isnull=False),
            ),
            # The one that a customer quotes.
            models.Index(fields=["request_id"], name="error_log_by_request"),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.endpoint}"
