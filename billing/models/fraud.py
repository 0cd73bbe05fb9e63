"""Fraud scores."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F


class FraudScore(models.Model):
    """A user's fraud score, with its reasons. Users without signals have no row. Its one effect:
    above the limit, new purchases await review (services.fraud).
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        primary_key=True,
        on_delete=models.CASCADE,
        related_name="fraud_score",
    )
    score = models.PositiveIntegerField()
    # [{"what", "count", "usual", "points"}, …]: those that add up to the score.
    signals = models.JSONField(db_column="marks")
    assessed_at = models.DateTimeField()

    class Meta:
        # Support's list, the highest score first.
        indexes = [models.Index(F("score").desc(), name="fraud_by_score")]

    def __str__(self) -> str:
        return f"{self.score} points"
