"""What a purchase does in the ledger: its credits come once, and go for the share that is due back.

All join the caller's transaction, which has the purchase and its owner's wallet locked.
"""

from __future__ import annotations

from datetime import datetime

import structlog

from accounts.models import User
from billing.models import Product, ProductKind, Purchase, Rollover
from billing.services import periods
from credits import services as credit_services

logger = structlog.get_logger(__name__)

# What the customer reads in the history of credits.
BOUGHT, ALLOWANCE = "purchase", "subscription"
REFUNDED, REFUND_REVERSED = "refunded by the App Store", "App Store refund reversed"
REPLACED = "replaced by an upgrade"


def grant(purchase: Purchase, owner: User, product: Product, *, now: datetime) -> None:
    """Once; of what somebody else's family shares nothing comes.

    The owner may be banned: what was paid for arrives, and is spent once the ban is lifted.
    """
    is_allowance = product.kind == ProductKind.SUBSCRIPTION
    purchase.granted_at = now
    purchase.credits = 0 if purchase.is_family_shared else product.credits
    if not purchase.credits:
        return
    if is_allowance:
        take_back_replaced(purchase, now=now)
    else:
        purchase.credits *= purchase.quantity
    credit_services.grant(
        user_id=owner.id,
        amount=purchase.credits,
        source=credit_services.Source.SUBSCRIPTION
        if is_allowance
        else credit_services.Source.PURCHASE,
        reason=ALLOWANCE if is_allowance else BOUGHT,
        expires_at=purchase.expires_at if _lapses(product) else None,
        transaction_id=purchase.ledger_id,
        now=now,
    )
    logger.info(
        "purchase_granted",
        purchase_id=str(purchase.id),
        credits=purchase.credits,
        environment=purchase.environment,
    )


def take_back_replaced(purchase: Purchase, *, now: datetime) -> None:
    """If this is an upgrade, those credits go that the period it replaces will not earn: just
    before its own come, so that these repay at once what had been spent, or where its own do not
    come, as it has been refunded already."""
    if purchase.is_renewal or not periods.is_period(purchase):
        return
    for earlier in periods.running_before(purchase):
        if earlier.credits:
            _take_back_share(earlier, now=now)
            earlier.save(update_fields=["taken_share"])


def follow(purchase: Purchase, product: Product | None, *, now: datetime) -> None:
    """Make what is taken back of the credits, and when they lapse, agree with the purchase."""
    if not purchase.credits:
        return
    _take_back_share(purchase, now=now)
    if product and _lapses(product) and purchase.expires_at:
        credit_services.prolong(transaction_id=purchase.ledger_id, until=purchase.expires_at)


def _lapses(product: Product) -> bool:
    return product.kind == ProductKind.SUBSCRIPTION and product.rollover == Rollover.LAPSE


def _take_back_share(purchase: Purchase, *, now: datetime) -> None:
    """The share that Apple has refunded, or that an upgrade has cut off, whichever is more: Apple
    pays the latter back too. All in all, so that what is missing is done."""
    replaced = periods.unused_share(purchase) if periods.is_period(purchase) else 0
    share = max(purchase.revoked_share, replaced)
    if share < purchase.taken_share:
        credit_services.give_back(
            transaction_id=purchase.ledger_id, reason=REFUND_REVERSED, now=now
        )
    if share and share != purchase.taken_share:
        credit_services.take_back(
            transaction_id=purchase.ledger_id,
            milli_percent=share,
            reason=REPLACED if replaced > purchase.revoked_share else REFUNDED,
            now=now,
        )
    purchase.taken_share = share
