"""Subscriptions, and the tier of those who have one.

Guarantee: how a subscription stands follows from what Apple has signed, whatever of it came when,
how often and from whom. Its periods are purchases; `record` keeps what was signed last about its
future; `follow` derives the rest from both. Past its end nobody has the tier, whether or not
anybody told us: it is stored with the time at which it ends.

The locks: the wallet, the subscription and the purchase (services.purchases), then the user.
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

# Apple's word of a renewal comes a little after the period's end, by itself. Then we ask.
CHECK_DELAY = timedelta(minutes=10)


@transaction.atomic(durable=True)
def upsert_from_apple(renewal: Renewal) -> None:
    """Keep what Apple says of a subscription's future; older news than we have changes nothing.

    What follows from it is for `follow`, after this.
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
    """Whatever is settled about the subscription of this period waits here for whatever else is.
    Joins the caller's transaction."""
    _get_locked(purchase.environment, purchase.original_transaction_id)


def sync_subscription(purchase: Purchase, *, now: datetime) -> None:
    """Let the subscription and its user's tier follow from its periods, of which this is one.

    Joins the caller's transaction, which has the purchase and its user's wallet locked.
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
    """The user's tier is what their subscriptions say. Joins the caller's transaction, which has
    their wallet locked."""
    ends = [subscription.access_until for subscription in queries.subscriptions_of(user_id)]
    until = max((end for end in ends if end and end > now), default=None)
    tier = Tier.PREMIUM if until else Tier.FREE
    account_services.set_tier(user_id=user_id, tier=tier, until=until)


@transaction.atomic(durable=True)
def mark_checked(subscription_id: UUID, *, now: datetime) -> None:
    """Apple has said how it goes on, and is not asked again before the next end."""
    subscription = Subscription.objects.select_for_update().get(id=subscription_id)
    subscription.checked_at = now
    _schedule_check(subscription, now=now)
    subscription.save(update_fields=["checked_at", "due_at", "tries"])


def find_for_period(purchase: Purchase) -> Subscription | None:
    """The subscription of which this is a period, if it is one."""
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
    """Once for each end, unless Apple has told of itself since."""
    subscription.due_at, subscription.tries = None, 0
    end = subscription.access_until
    heard = [at for at in (subscription.checked_at, subscription.renewal_signed_at) if at]
    if end and not (heard and max(heard) >= end):
        subscription.due_at = max(end + CHECK_DELAY, now)
