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
    if not is_allowance:
        purchase.credits *= purchase.quantity
    elif not purchase.is_renewal:
        _take_back_replaced(purchase, now=now)
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


def follow(purchase: Purchase, product: Product | None, *, now: datetime) -> None:
    """Make what is taken back of the credits, and when they lapse, agree with the purchase."""
    if not purchase.credits:
        return
    line = periods.latest_of(purchase) if periods.is_period(purchase) else []
    _take_back_share(purchase, line, now=now)
    if product and _lapses(product) and purchase.expires_at:
        credit_services.prolong(transaction_id=purchase.ledger_id, until=purchase.expires_at)


def _lapses(product: Product) -> bool:
    return product.kind == ProductKind.SUBSCRIPTION and product.rollover == Rollover.LAPSE


def _take_back_replaced(upgrade: Purchase, *, now: datetime) -> None:
    """Before an upgrade's credits come, those go that the period it replaces will not earn. What
    had been spent of them is a debt, which the upgrade's then repay at once."""
    line = periods.latest_of(upgrade)
    for earlier in line:
        is_theirs = earlier.credits and earlier.user_id == upgrade.user_id
        if is_theirs and periods.unused_share(earlier, line):
            _take_back_share(earlier, line, now=now)
            earlier.save(update_fields=["taken_share"])


def _take_back_share(purchase: Purchase, line: list[Purchase], *, now: datetime) -> None:
    """The share that Apple has refunded, or that an upgrade has cut off, whichever is more: Apple
    pays the latter back too. All in all, so that what is missing is done."""
    replaced = periods.unused_share(purchase, line)
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
