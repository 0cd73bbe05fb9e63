"""Apple's consumption requests."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from billing.models.purchases import Purchase
from rendio.common.background.due_rows import DueRow
from rendio.common.ids import uuid7


class RefundPolicy(models.TextChoices):
    """The outcome of a refund request that we ask Apple for."""

    NONE = "none", "No preference"  # no preference is sent
    DECLINE = "decline"
    GRANT = "grant"
    BY_SHARE = "by_share", "Prorated"  # refund the unused part


class ConsumptionRequest(DueRow):
    """Apple's latest consumption request for a purchase whose refund was requested. Due until it is
    answered or must not be answered (lifecycle.consumption).
    """

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    purchase = models.OneToOneField(
        Purchase, on_delete=models.PROTECT, related_name="consumption_request"
    )
    reason = models.CharField(max_length=40, blank=True, help_text="Apple's value.")
    requested_at = models.DateTimeField()
    deadline_at = models.DateTimeField(help_text="Apple accepts answers until then.")
    override = models.CharField(
        "preference override",
        max_length=10,
        choices=RefundPolicy.choices,
        blank=True,
        help_text="Preference set by support, instead of the usual policy.",
    )
    answer = models.JSONField(null=True, blank=True, help_text="Last answer sent to Apple.")
    answered_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=120, blank=True)

    class Meta:
        verbose_name = "refund request"
        indexes = [
            models.Index(
                fields=["due_at"], condition=Q(due_at__isnull=False), name="consumption_due"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.purchase} asked {self.requested_at:%Y-%m-%d}"
