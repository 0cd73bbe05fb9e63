"""Reads of billing for others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from accounts import queries as account_queries
from accounts.models import Tier
from billing.appstore import verifier
from billing.models import (
    ConsumptionRequest,
    FraudScore,
    Product,
    Purchase,
    Subscription,
    SubscriptionState,
    UnreadablePayload,
)
from rendio.common.times import iso


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
    goes_on = state not in {SubscriptionState.EXPIRED, SubscriptionState.REVOKED}
    return SubscriptionStatus(
        tier,
        state,
        subscription.current_period.product_id if subscription.current_period else None,
        expires_at,
        will_renew=subscription.will_renew and goes_on,
    )


def subscriptions_of(user_id: UUID) -> list[Subscription]:
    """Return the subscriptions whose current period belongs to the user."""
    return list(
        Subscription.objects.filter(current_period__user_id=user_id).select_related(
            "current_period"
        )
    )


def export_subscriptions(user_id: UUID) -> Iterator[dict[str, Any]]:
    """The user's subscriptions, for an export; their periods are among the purchases."""
    for subscription in subscriptions_of(user_id):
        yield {
            "original_transaction_id": subscription.original_transaction_id,
            "environment": subscription.environment,
            "ends_at": iso(subscription.ends_at),
            "grace_until": iso(subscription.grace_until),
            "will_renew": subscription.will_renew,
            "renewal_product_id": subscription.renewal_product_id,
        }


def export_purchases(user_id: UUID) -> Iterator[dict[str, Any]]:
    """All that the user bought, oldest first, for an export of everything held about them."""
    for purchase in Purchase.objects.filter(user_id=user_id).order_by("id").iterator():
        yield {
            "transaction_id": purchase.transaction_id,
            "original_transaction_id": purchase.original_transaction_id,
            "app_transaction_id": purchase.app_transaction_id or None,
            "environment": purchase.environment,
            "product_id": purchase.product_id,
            "quantity": purchase.quantity,
            "price_milliunits": purchase.price_milliunits,
            "offer_type": purchase.offer_type,
            "offer_discount_type": purchase.offer_discount_type or None,
            "offer_identifier": purchase.offer_identifier or None,
            "currency": purchase.currency,
            "storefront": purchase.storefront,
            "credits": purchase.credits,
            "purchased_at": iso(purchase.purchased_at),
            "expires_at": iso(purchase.expires_at),
            "refunded_at": iso(purchase.revoked_at),
        }


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


def export_unreadable(user_id: UUID) -> Iterator[dict[str, Any]]:
    """What the user's phones sent that could not be read yet, for an export."""
    for payload in UnreadablePayload.objects.filter(user_id=user_id).order_by("id"):
        yield {
            "transaction_id": payload.transaction_id or None,
            "problem": payload.problem,
            "received_at": iso(payload.first_at),
        }


def export_refund_requests(user_id: UUID) -> Iterator[dict[str, Any]]:
    """What Apple asked about the user's purchases, and was told, for an export."""
    asked = ConsumptionRequest.objects.filter(purchase__user_id=user_id).select_related("purchase")
    for request in asked.order_by("id"):
        yield {
            "transaction_id": request.purchase.transaction_id,
            "reason": request.reason,
            "requested_at": iso(request.requested_at),
            "answer": request.answer,
            "answered_at": iso(request.answered_at),
        }


def export_fraud_signals(user_id: UUID) -> Iterator[dict[str, Any]]:
    """What looks odd about the user, if anything does, for an export."""
    for found in FraudScore.objects.filter(user_id=user_id):
        yield {
            "score": found.score,
            "marks": found.signals,
            "assessed_at": iso(found.assessed_at),
        }
