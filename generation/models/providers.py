"""Health of provider keys, and daily spend."""

from __future__ import annotations

import math
from datetime import datetime
from typing import NamedTuple

from django.db import models
from django.utils import timezone

from rendio.common.ids import uuid7


class SpendDay(models.Model):
    """Daily rollup of one provider's spend, until `counted_until`. generation.spend adds later
    submissions."""

    provider = models.CharField(max_length=20)
    date = models.DateField(help_text="Day in UTC.")
    usd = models.DecimalField("spend (USD)", max_digits=14, decimal_places=4)
    counted_until = models.DateTimeField()
    # The part of `usd` that is counted once an hour: of submissions before `older_until`.
    older_usd = models.DecimalField(max_digits=14, decimal_places=4, default=0, db_default=0)
    older_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "daily provider spend"
        verbose_name_plural = "daily provider spend"
        constraints = [
            models.UniqueConstraint(fields=["provider", "date"], name="spend_one_per_day")
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.date}"


class ProviderKey(NamedTuple):
    """One of our API keys at one provider. Each has a circuit breaker and a limit of its own."""

    provider: str
    label: str


class Breaker(models.TextChoices):
    CLOSED = "closed"  # submissions are sent
    OPEN = "open"  # nothing is sent until `open_until`; then a probe
    HALF_OPEN = (
        "half open",
        "Half-open",
    )  # the probe is running; nothing else is sent until `open_until`


class ProviderHealth(models.Model):
    """State of one provider key's circuit breaker. Written by generation.dispatch.circuit_breaker,
    and locked by the scheduler."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    provider = models.CharField(max_length=20)
    key_label = models.CharField("key", max_length=30)
    state = models.CharField(max_length=10, choices=Breaker.choices, default=Breaker.CLOSED)
    failures = models.PositiveIntegerField(
        "recent failures", default=0, help_text="Failures since the window started, less successes."
    )
    window_began_at = models.DateTimeField("failure window started at", null=True, blank=True)
    open_until = models.DateTimeField(null=True, blank=True)
    probe_id = models.UUIDField(
        "probe request ID", null=True, blank=True, help_text="ID of the probe request."
    )
    paused_until = models.DateTimeField(
        "rate limited until",
        null=True,
        blank=True,
        help_text="Rate limited by the provider (429) until then.",
    )
    last_error = models.CharField(max_length=200, blank=True)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "provider health"
        constraints = [
            models.UniqueConstraint(fields=["provider", "key_label"], name="health_one_per_key")
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.key_label}: {self.state}"

    @property
    def key(self) -> ProviderKey:
        return ProviderKey(self.provider, self.key_label)

    def is_open(self, now: datetime) -> bool:
        """Whether new orders that need this key are refused."""
        return self.open_until is not None and self.open_until > now

    def max_submissions(self, now: datetime) -> float:
        """Submissions allowed now: 0, 1 (a probe) or infinity."""
        if self.is_open(now) or (self.paused_until and self.paused_until > now):
            return 0
        return math.inf if self.state == Breaker.CLOSED else 1
