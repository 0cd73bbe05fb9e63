"""Changes of products."""

from __future__ import annotations

from datetime import datetime

from billing.due_work import SYNC_PURCHASES
from billing.models import PendingReason, Product, Purchase


def on_product_saved(product: Product, *, now: datetime) -> None:
    """Schedule purchases that were waiting for this product. Joins the caller's transaction."""
    Purchase.objects.filter(
        pending_reason=PendingReason.UNKNOWN_PRODUCT, product_id=product.product_id
    ).update(due_at=now, tries=0)
    SYNC_PURCHASES.wake_workers()
