"""What is sold."""

from __future__ import annotations

from datetime import datetime

from billing.models import PendingReason, Product, Purchase
from rendio.common import nudge


def on_product_saved(product: Product, *, now: datetime) -> None:
    """What was bought of it before it was known here is looked at again, soon. Joins the caller's
    transaction."""
    Purchase.objects.filter(problem=PendingReason.PRODUCT, product_id=product.product_id).update(
        due_at=now, tries=0
    )
    nudge.after_commit("billing.settle_purchases", queue="high")
