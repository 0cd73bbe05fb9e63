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
ASK_AFTER = timedelta(minutes=10)


@transaction.atomic(durable=True)
def record(renewal: Renewal) -> None:
    """Keep what Apple says of a subscription's future; older news than we have changes nothing.

    What follows from it is for `follow`, after this.
    """
    line = _locked(renewal.environment, renewal.original_transaction_id)
    if line.renewal_signed_at and renewal.signed_at < line.renewal_signed_at:
        return
    line.will_renew = renewal.is_on
    line.renewal_product_id = renewal.product_id
    line.grace_until = renewal.grace_until
    line.is_in_billing_retry = renewal.is_in_billing_retry
    line.renewal_signed_at = renewal.signed_at
    line.save()


def lock_line(purchase: Purchase) -> None:
    """Whatever is settled about the subscription of this period waits here for whatever else is.
    Joins the caller's transaction."""
    _locked(purchase.environment, purchase.original_transaction_id)


def follow(purchase: Purchase, *, now: datetime) -> None:
    """Let the subscription and its user's tier follow from its periods, of which this is one.

    Joins the caller's transaction, which has the purchase and its user's wallet locked.
    """
    line = _locked(purchase.environment, purchase.original_transaction_id)
    line.current, line.ends_at = periods.current_of(periods.latest_of(purchase))
    _ask_at_the_end(line, now=now)
    line.save()
    assert purchase.user_id  # noqa: S101 (only then is it one of the periods)
    follow_tier(purchase.user_id, now=now)


def follow_tier(user_id: UUID, *, now: datetime) -> None:
    """The user's tier is what their subscriptions say. Joins the caller's transaction, which has
    their wallet locked."""
    ends = [line.access_until for line in queries.subscriptions_of(user_id)]
    until = max((end for end in ends if end and end > now), default=None)
    tier = Tier.PREMIUM if until else Tier.FREE
    account_services.set_tier(user_id=user_id, tier=tier, until=until)


@transaction.atomic(durable=True)
def asked(subscription_id: UUID, *, now: datetime) -> None:
    """Apple has said how it goes on, and is not asked again before the next end."""
    line = Subscription.objects.select_for_update().get(id=subscription_id)
    line.asked_at = now
    _ask_at_the_end(line, now=now)
    line.save(update_fields=["asked_at", "due_at", "tries"])


def find_of(purchase: Purchase) -> Subscription | None:
    """The subscription of which this is a period, if it is one."""
    if not periods.is_period(purchase):
        return None
    lines = Subscription.objects.select_related("current")
    return lines.filter(
        environment=purchase.environment, original_transaction_id=purchase.original_transaction_id
    ).first()


def _locked(environment: str, original_transaction_id: str) -> Subscription:
    line, _ = Subscription.objects.select_for_update().get_or_create(
        environment=environment, original_transaction_id=original_transaction_id
    )
    return line


def _ask_at_the_end(line: Subscription, *, now: datetime) -> None:
    """Once for each end, unless Apple has told of itself since."""
    line.due_at, line.tries = None, 0
    end = line.access_until
    heard = [at for at in (line.asked_at, line.renewal_signed_at) if at]
    if end and not (heard and max(heard) >= end):
        line.due_at = max(end + ASK_AFTER, now)
