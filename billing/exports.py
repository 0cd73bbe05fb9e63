"""Sections of a user's data export: purchases, subscriptions, refund requests, fraud signals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from billing.models import ConsumptionRequest, FraudScore, Purchase, UnreadablePayload
from billing.queries import subscriptions_of
from rendio.common.times import iso


def export_subscriptions(user_id: UUID) -> Iterator[dict[str, Any]]:
    """The user's subscriptions. Their periods are in `export_purchases`."""
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
    """All purchases of the user, oldest first."""
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


def export_unreadable(user_id: UUID) -> Iterator[dict[str, Any]]:
    """Payloads from the user's phones that we could not read yet."""
    for payload in UnreadablePayload.objects.filter(user_id=user_id).order_by("id"):
        yield {
            "transaction_id": payload.transaction_id or None,
            "problem": payload.problem,
            "received_at": iso(payload.first_at),
        }


def export_refund_requests(user_id: UUID) -> Iterator[dict[str, Any]]:
    """Apple's consumption requests about the user's purchases, with our answers."""
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
    """The user's fraud score and its reasons, if there are any."""
    for found in FraudScore.objects.filter(user_id=user_id):
        yield {
            "score": found.score,
            "marks": found.signals,
            "assessed_at": iso(found.assessed_at),
        }
