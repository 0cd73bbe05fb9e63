"""How providers are doing, and what they have cost us."""

from __future__ import annotations

import math
from datetime import datetime
from typing import NamedTuple

from django.db import models
from django.utils import timezone

from rendio.common.ids import uuid7


class SpendDay(models.Model):
    """What one provider's submissions of one day cost us, as far as they have been counted.
    generation.spend adds what was submitted since."""

    provider = models.CharField(max_length=20)
    date = models.DateField(help_text="In UTC.")
    usd = models.DecimalField(max_digits=14, decimal_places=4)
    counted_until = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["provider", "date"], name="spend_one_per_day")
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.date}"


class ProviderKey(NamedTuple):
    """One of our keys at one provider: what has a breaker and a limit of its own."""

    provider: str
    label: str


class Breaker(models.TextChoices):
    CLOSED = "closed"  # whatever is due is sent
    OPEN = "open"  # nothing is, until `open_until`; then one, to see
    HALF_OPEN = "half open"  # that one, the probe, is on its way; until `open_until` it is alone


class ProviderHealth(models.Model):
    """How submissions under one key of a provider have gone lately.
    generation.dispatch.circuit_breaker writes it; the claim of what to submit reads it under its
    lock."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    provider = models.CharField(max_length=20)
    key_label = models.CharField(max_length=30)
    state = models.CharField(max_length=10, choices=Breaker.choices, default=Breaker.CLOSED)
    failures = models.PositiveIntegerField(
        default=0, help_text="Since the window began; each success takes one away."
    )
    window_began_at = models.DateTimeField(null=True, blank=True)
    open_until = models.DateTimeField(null=True, blank=True)
    probe_id = models.UUIDField(null=True, blank=True, help_text="The request that is to show it.")
    paused_until = models.DateTimeField(
        null=True, blank=True, help_text="The provider asked us not to come before (429)."
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
        """Whether orders that only this key could take are refused."""
        return self.open_until is not None and self.open_until > now

    def max_submissions(self, now: datetime) -> float:
        """How many submissions may go now: none, one as a probe, or any number."""
        if self.is_open(now) or (self.paused_until and self.paused_until > now):
            return 0
        return math.inf if self.state == Breaker.CLOSED else 1
