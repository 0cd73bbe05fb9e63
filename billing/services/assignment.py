"""Support assigns a purchase that has no owner, and releases a purchase that awaits review."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from accounts.models import User
from billing.models import NEEDS_REVIEW, PendingReason, Purchase
from billing.services import purchases
from rendio.common.errors import InvalidState, NotFound


def assign_purchase(*, purchase_id: UUID, user_id: UUID, now: datetime) -> Purchase:
    """Assign a pending purchase to this user and grant its credits.

    Joins the caller's transaction. Raises NotFound, and InvalidState for a purchase that has an
    owner, was refunded or has no product, and for a user whose account is closed.
    """
    user = lock_new_owner(user_id)
    found = Purchase.objects.filter(id=purchase_id).first()
    if found is None:
        raise NotFound
    purchase = purchases.lock_purchase(found)
    require_ownerless(purchase)
    purchase.user = user
    purchase.save(update_fields=["user"])
    return purchases.sync_ledger(purchase.id, now=now).purchase


def release_purchase(*, purchase_id: UUID, now: datetime) -> Purchase:
    """Grant the credits of a purchase that awaits review. Joins the caller's transaction. Raises
    NotFound, and InvalidState for a purchase that does not await review.
    """
    found = Purchase.objects.filter(id=purchase_id).first()
    if found is None:
        raise NotFound
    if found.user_id:
        purchases.lock_owner(found.user_id)
    purchase = purchases.lock_purchase(found)
    require_awaiting_review(purchase)
    purchase.released_at = now
    purchase.save(update_fields=["released_at"])
    return purchases.sync_ledger(purchase_id, now=now).purchase


def lock_new_owner(user_id: UUID) -> User:
    """Lock the user that a purchase is to be assigned to. Joins the caller's transaction.

    Raises NotFound, and InvalidState for a closed account.
    """
    user = purchases.lock_owner(user_id)
    if user is None:
        raise NotFound
    if user.closed_at:
        raise InvalidState(problem="This account is closed. Nobody could spend the credits.")
    return user


def require_ownerless(purchase: Purchase) -> None:
    """Raises InvalidState for a purchase that does not wait for an owner."""
    if purchase.pending_reason not in {PendingReason.NO_OWNER, PendingReason.ACCOUNT_CLOSED}:
        raise InvalidState(problem="This purchase does not need an owner.")


def require_awaiting_review(purchase: Purchase) -> None:
    """Raises InvalidState for a purchase that does not await review."""
    if purchase.pending_reason not in NEEDS_REVIEW:
        raise InvalidState(problem="This purchase does not await review.")
