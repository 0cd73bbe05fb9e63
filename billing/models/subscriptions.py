"""Subscriptions: lines of periods, each of which is a purchase."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q

from billing.models.purchases import Environment, Purchase
from rendio.common.due import DueRow
from rendio.common.ids import uuid7


class SubscriptionState(models.TextChoices):
    """As Apple tells them apart (Apple: status). The first two are live: they have the tier."""

    ACTIVE = "active"  # paid for until ends_at
    GRACE = "grace"  # charging failed; access goes on for a while
    BILLING_RETRY = "billing_retry"  # charging failed; Apple goes on trying, without access
    EXPIRED = "expired"
    REVOKED = "revoked"  # its period was refunded, or its family shares no more


# So long does Apple go on trying to charge (Apple: isInBillingRetryPeriod).
BILLING_RETRIED_FOR = timedelta(days=60)


class Subscription(DueRow):
    """A line of periods under one original transaction, each of them a purchase.

    How it stands follows from what Apple has signed and from the time: nothing has to happen for it
    to end. Due when its access ends, to ask Apple whether that is so (lifecycle.subscriptions).
    """

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    environment = models.CharField(max_length=10, choices=Environment.choices)
    original_transaction_id = models.CharField("original transaction ID", max_length=50)
    # The period that counts, whose user has the tier; None before anybody has one.
    current_period = models.ForeignKey(
        Purchase,
        db_column="current_id",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    ends_at = models.DateTimeField(null=True, blank=True, help_text="End of the current period.")
    # What Apple says of the future, as of renewal_signed_at; until then, as subscriptions begin.
    will_renew = models.BooleanField(default=True)
    renewal_product_id = models.CharField("renewal product ID", max_length=100, blank=True)
    grace_until = models.DateTimeField("grace period ends at", null=True, blank=True)
    is_in_billing_retry = models.BooleanField("in billing retry", default=False)
    renewal_signed_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField(
        db_column="asked_at",
        null=True,
        blank=True,
        help_text="Last check of the subscription's status at Apple.",
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "original_transaction_id"], name="subscription_once_per_line"
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at"], condition=Q(due_at__isnull=False), name="subscription_due"
            ),
        ]

    def __str__(self) -> str:
        return f"…{self.original_transaction_id[-4:]}"

    @property
    def access_until(self) -> datetime | None:
        """When the tier ends, if nothing else comes; None where nobody ever had it."""
        if self.current_period is None or self.ends_at is None or self.current_period.revoked_at:
            return self.ends_at
        if self.grace_until is None or not self._renewal_is_of_this_period:
            return self.ends_at
        return max(self.ends_at, self.grace_until)

    def state_at(self, now: datetime) -> SubscriptionState:
        if self.current_period is None or self.ends_at is None:
            return SubscriptionState.EXPIRED
        if self.current_period.revoked_at:
            return SubscriptionState.REVOKED
        if self.ends_at > now:
            return SubscriptionState.ACTIVE
        if self.access_until and self.access_until > now:
            return SubscriptionState.GRACE
        is_retried = self.is_in_billing_retry and self._renewal_is_of_this_period
        if is_retried and self.ends_at > now - BILLING_RETRIED_FOR:
            return SubscriptionState.BILLING_RETRY
        return SubscriptionState.EXPIRED

    @property
    def _renewal_is_of_this_period(self) -> bool:
        """A failure to charge for the period before it says nothing of the one that was paid."""
        assert self.current_period  # noqa: S101 (asked for by those who have seen it)
        return (
            self.renewal_signed_at is not None
            and self.renewal_signed_at >= self.current_period.purchased_at
        )
