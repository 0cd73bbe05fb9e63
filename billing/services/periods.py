"""The periods of a subscription: the current one, and the part that an upgrade replaces.

Each period is a purchase, as Apple last signed it. Everything follows from the periods alone, so
the order in which they became known makes no difference.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from billing.appstore import payloads
from billing.models import FULL_SHARE, Purchase, PurchaseQuerySet

# Older periods have ended long ago.
MAX_PERIODS = 24


def is_period(purchase: Purchase) -> bool:
    return purchase.type == payloads.SUBSCRIPTION


def periods_of_subscription(purchase: Purchase) -> PurchaseQuerySet:
    """All periods of the purchase's subscription that have an owner."""
    return Purchase.objects.filter(
        environment=purchase.environment,
        original_transaction_id=purchase.original_transaction_id,
        user__isnull=False,
    )


def find_subscriber(purchase: Purchase) -> UUID | None:
    """Return the owner of the subscription so far; None if there is none or the account is
    closed.
    """
    if not is_period(purchase):
        return None
    theirs = (
        periods_of_subscription(purchase).filter(user__closed_at=None).order_by("-purchased_at")
    )
    return theirs.values_list("user_id", flat=True).first()


def latest_periods(purchase: Purchase) -> list[Purchase]:
    """Return the latest MAX_PERIODS periods of the purchase's subscription, newest first."""
    periods = periods_of_subscription(purchase).order_by("-purchased_at", "-transaction_id")
    return list(periods[:MAX_PERIODS])


def current_period(periods: list[Purchase]) -> tuple[Purchase, datetime]:
    """Return the current period and its end: the period that ends last.

    A renewal may be paid, and refunded, while the period before it still runs.
    """
    ends = {period: _end_of(period, periods) for period in periods}
    current = max(periods, key=lambda one: (ends[one], one.purchased_at, one.transaction_id))
    return current, ends[current]


def overlapped_periods(period: Purchase) -> list[Purchase]:
    """Return the same user's earlier periods that were still running when this one began."""
    began_at = period.purchased_at
    earlier = periods_of_subscription(period).filter(
        purchased_at__lt=began_at, expires_at__gt=began_at
    )
    return list(earlier.filter(user=period.user_id).order_by("purchased_at")[:MAX_PERIODS])


def unused_period_share(period: Purchase) -> int:
    """Return the share of the period that an upgrade cut off, in thousandths of a percent."""
    later = periods_of_subscription(period).filter(
        purchased_at__gt=period.purchased_at, purchased_at__lt=_expiry_of(period)
    )
    replaced_at = _replaced_at(period, list(later.order_by("purchased_at")[:MAX_PERIODS]))
    if replaced_at is None:
        return 0
    expires_at = _expiry_of(period)
    return (expires_at - replaced_at) * FULL_SHARE // (expires_at - period.purchased_at)


def _end_of(period: Purchase, periods: list[Purchase]) -> datetime:
    ends = [_expiry_of(period), period.revoked_at, _replaced_at(period, periods)]
    return min(end for end in ends if end)


def _replaced_at(period: Purchase, periods: list[Purchase]) -> datetime | None:
    """Return when an upgrade began during the period. Early renewals and new subscriptions after a
    refund have the same product, and are no upgrades.
    """
    upgrades = [
        other.purchased_at
        for other in periods
        if not other.is_renewal
        and other.product_id != period.product_id
        and period.purchased_at < other.purchased_at < _expiry_of(period)
    ]
    return min(upgrades, default=None)


def _expiry_of(period: Purchase) -> datetime:
    return period.expires_at or period.purchased_at
