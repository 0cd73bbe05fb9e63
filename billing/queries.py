"""Reads of billing for others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from billing.models import Product, Purchase
from rendio.common.times import iso


def products_on_sale() -> list[Product]:
    return list(Product.objects.filter(is_available=True).order_by("position", "product_id"))


def purchases_held(user_id: UUID) -> Iterator[dict[str, Any]]:
    """All that the user bought, oldest first, for an export of everything held about them."""
    for purchase in Purchase.objects.filter(user_id=user_id).order_by("id").iterator():
        yield {
            "transaction_id": purchase.transaction_id,
            "original_transaction_id": purchase.original_transaction_id,
            "environment": purchase.environment,
            "product_id": purchase.product_id,
            "quantity": purchase.quantity,
            "price_milliunits": purchase.price_milliunits,
            "currency": purchase.currency,
            "storefront": purchase.storefront,
            "credits": purchase.credits,
            "purchased_at": iso(purchase.purchased_at),
            "expires_at": iso(purchase.expires_at),
            "refunded_at": iso(purchase.revoked_at),
        }
