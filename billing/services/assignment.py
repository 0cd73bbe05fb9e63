"""Support finds out whose a purchase is that names nobody, or somebody who has left, and lets
through what was held back."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from billing.models import NEEDS_REVIEW, PendingReason, Purchase
from billing.services import purchases
from rendio.common.errors import InvalidState, NotFound


def assign_purchase(*, purchase_id: UUID, user_id: UUID, now: datetime) -> Purchase:
    """Give a purchase that waits to this user, and its credits with it.

    Joins the caller's transaction. Raises NotFound, and InvalidState for a purchase that has its
    owner, was refunded or is of no product, and for a user whose account is closed.
    """
    user = purchases.lock_owner(user_id)
    if user is None:
        raise NotFound
    if user.closed_at:
        raise InvalidState(problem="This account is closed: nobody could spend the credits.")
    found = Purchase.objects.filter(id=purchase_id).first()
    if found is None:
        raise NotFound
    purchase = purchases.lock_purchase(found)
    if purchase.pending_reason not in {PendingReason.NO_OWNER, PendingReason.ACCOUNT_CLOSED}:
        raise InvalidState(problem="This purchase does not wait for somebody.")
    purchase.user = user
    purchase.save(update_fields=["user"])
    return purchases.sync_ledger(purchase.id, now=now).purchase


def release_purchase(*, purchase_id: UUID, now: datetime) -> Purchase:
    """Grant what is held back. Joins the caller's transaction. Raises NotFound, and
    InvalidState for a purchase that is not held back."""
    found = Purchase.objects.filter(id=purchase_id).first()
    if found is None:
        raise NotFound
    if found.user_id:
        purchases.lock_owner(found.user_id)
    purchase = purchases.lock_purchase(found)
    if purchase.pending_reason not in NEEDS_REVIEW:
        raise InvalidState(problem="This purchase is not held back.")
    purchase.released_at = now
    purchase.save(update_fields=["released_at"])
    return purchases.sync_ledger(purchase_id, now=now).purchase
