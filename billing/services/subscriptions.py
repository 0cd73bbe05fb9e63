"""Subscriptions, and the tier of their users.

Guarantee: a subscription's state depends only on Apple's signed data, not on order, repetition or
sender. Its periods are purchases; `upsert_from_apple` stores the latest renewal
info; `sync_subscription` derives the rest from both. The tier is stored with its end, so it ends on
time even without a notification.

Lock order: the wallet, the subscription and the purchase (services.purchases), then the user.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from accounts import services as account_services
from accounts.models import Tier
from billing import queries
from billing.appstore.payloads import Renewal
from billing.models import Purchase, Subscription
from billing.services import periods

# Apple notifies us of a renewal shortly after the period's end. If no notification comes, we ask.
CHECK_DELAY = timedelta(minutes=10)


@transaction.atomic(durable=True)
def upsert_from_apple(renewal: Renewal) -> None:
    """Store Apple's renewal info. Data older than the stored one changes nothing.

    The caller then calls `sync_subscription`.
    """
    subscription = _get_locked(renewal.environment, renewal.original_transaction_id)
    if subscription.renewal_signed_at and renewal.signed_at < subscription.renewal_signed_at:
        return
    subscription.will_renew = renewal.is_on
    subscription.renewal_product_id = renewal.product_id
    subscription.grace_until = renewal.grace_until
    subscription.is_in_billing_retry = renewal.is_in_billing_retry
    subscription.renewal_signed_at = renewal.signed_at
    subscription.save()


def lock_subscription(purchase: Purchase) -> None:
    """Serialize changes to the subscription of this period. Joins the caller's transaction."""
    _get_locked(purchase.environment, purchase.original_transaction_id)


def sync_subscription(purchase: Purchase, *, now: datetime) -> None:
    """Update the subscription and its user's tier from its periods, of which this purchase is one.

    Joins the caller's transaction, which has locked the purchase and its user's wallet.
    """
    subscription = _get_locked(purchase.environment, purchase.original_transaction_id)
    subscription.current_period, subscription.ends_at = periods.current_period(
        periods.latest_periods(purchase)
    )
    _schedule_check(subscription, now=now)
    subscription.save()
    assert purchase.user_id  # noqa: S101 (only then is it one of the periods)
    sync_tier(purchase.user_id, now=now)


def sync_tier(user_id: UUID, *, now: datetime) -> None:
    """Set the user's tier from their subscriptions. Joins the caller's transaction, which has
    locked their wallet.
    """
    ends = [subscription.access_until for subscription in queries.subscriptions_of(user_id)]
    until = max((end for end in ends if end and end > now), default=None)
    tier = Tier.PREMIUM if until else Tier.FREE
    account_services.set_tier(user_id=user_id, tier=tier, until=until)


@transaction.atomic(durable=True)
def mark_checked(subscription_id: UUID, *, now: datetime) -> None:
    """Apple has answered: do not ask again before the next end of access."""
    subscription = Subscription.objects.select_for_update().get(id=subscription_id)
    subscription.checked_at = now
    _schedule_check(subscription, now=now)
    subscription.save(update_fields=["checked_at", "due_at", "tries"])


def find_for_period(purchase: Purchase) -> Subscription | None:
    """Return the subscription of which this purchase is a period, or None."""
    if not periods.is_period(purchase):
        return None
    lines = Subscription.objects.select_related("current_period")
    return lines.filter(
        environment=purchase.environment, original_transaction_id=purchase.original_transaction_id
    ).first()


def _get_locked(environment: str, original_transaction_id: str) -> Subscription:
    subscription, _ = Subscription.objects.select_for_update().get_or_create(
        environment=environment, original_transaction_id=original_transaction_id
    )
    return subscription


def _schedule_check(subscription: Subscription, *, now: datetime) -> None:
    """Schedule one check for each end of access, unless Apple has sent data since."""
    subscription.due_at, subscription.tries = None, 0
    end = subscription.access_until
    heard = [at for at in (subscription.checked_at, subscription.renewal_signed_at) if at]
    if end and not (heard and max(heard) >= end):
        subscription.due_at = max(end + CHECK_DELAY, now)
