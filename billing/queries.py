"""Reads for other apps: products, prices, subscriptions, unreadable payloads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from accounts import queries as account_queries
from accounts.models import Tier
from billing.appstore import verifier
from billing.models import Product, Purchase, Subscription, SubscriptionState, UnreadablePayload


def products_on_sale() -> list[Product]:
    return list(Product.objects.filter(is_available=True).order_by("position", "product_id"))


# Bounds the cost of a staff page.
MAX_PURCHASES_SCANNED = 5000


def latest_prices(product_id: str) -> list[Purchase]:
    """Return the latest purchase in each storefront that was paid without an offer, among the
    latest MAX_PURCHASES_SCANNED purchases. Apple sets prices, so purchases are our only source.
    """
    recent = Purchase.objects.revenue().order_by("-id").values("id")[:MAX_PURCHASES_SCANNED]
    paid = Purchase.objects.filter(
        id__in=recent,
        product_id=product_id,
        quantity=1,
        price_milliunits__gt=0,
        offer_type=None,
    )
    latest = paid.exclude(storefront="").order_by("storefront", "-purchased_at")
    return list(latest.distinct("storefront"))


@dataclass(frozen=True)
class SubscriptionStatus:
    """`state`: None if the user never had a subscription. `expires_at`: the end of access,
    including grace.
    """

    tier: Tier
    state: SubscriptionState | None
    product_id: str | None
    expires_at: datetime | None
    will_renew: bool


def subscription_status(user_id: UUID, *, now: datetime) -> SubscriptionStatus:
    """Return the user's subscription; of several, the one whose access lasts longest. Raises
    Unauthorized if the account of a token is deleted.
    """
    tier = account_queries.get_tier(user_id, now=now)
    found = [
        (subscription.access_until, subscription)
        for subscription in subscriptions_of(user_id)
        if subscription.access_until
    ]
    if not found:
        return SubscriptionStatus(tier, None, None, None, will_renew=False)
    expires_at, subscription = max(found, key=lambda one: (one[0], one[1].id))
    state = subscription.state_at(now)
    is_live = state not in {SubscriptionState.EXPIRED, SubscriptionState.REVOKED}
    return SubscriptionStatus(
        tier,
        state,
        subscription.current_period.product_id if subscription.current_period else None,
        expires_at,
        will_renew=subscription.will_renew and is_live,
    )


def subscriptions_of(user_id: UUID) -> list[Subscription]:
    """Return the subscriptions whose current period belongs to the user."""
    return list(
        Subscription.objects.filter(current_period__user_id=user_id).select_related(
            "current_period"
        )
    )


def count_unreadable() -> int:
    """Count the open payloads of Apple's that we cannot read."""
    return UnreadablePayload.objects.open().count()


def decode_payload(payload: UnreadablePayload) -> dict[str, Any]:
    """Return a payload's claims, with those of the payloads within. Apple's signature was verified
    when it was stored.
    """
    found = dict(verifier.decode_unverified(payload.signed_payload))
    for about in (found.get("data"), found.get("appData")):
        for name, value in (about or {}).items() if isinstance(about, dict) else ():
            if name.startswith("signed"):
                found[name] = dict(verifier.decode_unverified(str(value)))
    return found
