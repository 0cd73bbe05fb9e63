"""Subscriptions. Each of their periods is a purchase."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q

from billing.models.purchases import Environment, Purchase
from rendio.common.background.due_rows import DueRow
from rendio.common.ids import uuid7


class SubscriptionState(models.TextChoices):
    """Apple's states (status). The first two give the tier."""

    ACTIVE = "active"  # paid for until ends_at
    GRACE = "grace", "Grace period"  # the charge failed; access continues for a while
    BILLING_RETRY = (
        "billing_retry",
        "Billing retry",
    )  # the charge failed; Apple retries, without access
    EXPIRED = "expired"
    REVOKED = "revoked"  # its period was refunded, or Family Sharing ended


# Apple retries a charge for this long (Apple: isInBillingRetryPeriod).
BILLING_RETRIED_FOR = timedelta(days=60)


class Subscription(DueRow):
    """A subscription: the periods with one original transaction, each of which is a purchase.

    Its state follows from Apple's signed data and the time: nothing has to run for it to end. Due
    at the end of access, to ask Apple for the state (lifecycle.subscriptions).
    """

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    environment = models.CharField(max_length=10, choices=Environment.choices)
    original_transaction_id = models.CharField("original transaction ID", max_length=50)
    # The current period, whose owner has the tier; None before anybody has one.
    current_period = models.ForeignKey(
        Purchase,
        db_column="current_id",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    ends_at = models.DateTimeField(null=True, blank=True, help_text="End of the current period.")
    # Apple's renewal info as of renewal_signed_at; before that, the defaults of a new subscription.
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
        """When the tier ends, unless Apple sends more; None if no user ever had it."""
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
        """A charge that failed before this period was paid says nothing about it."""
        assert self.current_period  # noqa: S101 (the callers have checked it)
        return (
            self.renewal_signed_at is not None
            and self.renewal_signed_at >= self.current_period.purchased_at
        )
