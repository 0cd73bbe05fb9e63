"""The effect of a purchase on the ledger: credits are granted once, and clawed back for the
refunded share.

All functions join the caller's transaction, which has locked the purchase and its owner's wallet.
"""

from __future__ import annotations

from datetime import datetime

import structlog

from accounts.models import User
from billing.models import Product, ProductKind, Purchase, Rollover
from billing.services import periods, sandbox_limit
from credits import services as credit_services

logger = structlog.get_logger(__name__)

# Reasons in the user's credit history.
REASON_PURCHASE, REASON_SUBSCRIPTION = "purchase", "subscription"
REASON_FREE_OFFER, REASON_FREE_TRIAL = "free offer", "free trial"
REASON_REFUNDED, REASON_REFUND_REVERSED = "refunded by the App Store", "App Store refund reversed"
REASON_UPGRADED = "replaced by an upgrade"


def grant(purchase: Purchase, owner: User, product: Product, *, now: datetime) -> None:
    """Grant a purchase's credits, once. Joins the caller's transaction.

    A purchase at no charge grants the product's `trial_credits`, a family-shared one grants none,
    and one from Apple's sandbox no more than its limit allows. A banned owner receives the credits
    too, and can spend them after the ban.
    """
    purchase.granted_at = now
    purchase.credits = sandbox_limit.capped_credits(
        purchase, user_id=owner.id, credits=_credits_for(purchase, product)
    )
    # An upgrade cuts off the replaced period even if it grants no credits itself.
    claw_back_upgraded_period(purchase, now=now)
    if not purchase.credits:
        return
    source, reason = _lot_source_and_reason(purchase, product)
    credit_services.grant(
        user_id=owner.id,
        amount=purchase.credits,
        source=source,
        reason=reason,
        expires_at=purchase.expires_at if _expires_with_period(product) else None,
        transaction_id=purchase.ledger_id,
        now=now,
    )
    logger.info(
        "purchase_granted",
        purchase_id=str(purchase.id),
        credits=purchase.credits,
        environment=purchase.environment,
    )


def expected_credits(purchase: Purchase) -> int:
    """Return the credits that a purchase has granted or, with today's products, would grant: 0 for
    an unknown product. Ignores the limit of Apple's sandbox.
    """
    if purchase.credits is not None:
        return purchase.credits
    product = Product.objects.filter(product_id=purchase.product_id).first()
    return _credits_for(purchase, product) if product else 0


def _credits_for(purchase: Purchase, product: Product) -> int:
    if purchase.is_family_shared:
        return 0
    credits = product.trial_credits if purchase.is_free else product.credits
    return credits if product.kind == ProductKind.SUBSCRIPTION else credits * purchase.quantity


def _lot_source_and_reason(
    purchase: Purchase, product: Product
) -> tuple[credit_services.Source, str]:
    """Return the lot's source and the reason in the user's history. Credits at no charge are a
    promotion: MAX_GRANTED_BALANCE counts them, and reports do not count them as sold.
    """
    is_allowance = product.kind == ProductKind.SUBSCRIPTION
    if purchase.is_free:
        return (
            credit_services.Source.PROMOTION,
            REASON_FREE_TRIAL if is_allowance else REASON_FREE_OFFER,
        )
    if is_allowance:
        return credit_services.Source.SUBSCRIPTION, REASON_SUBSCRIPTION
    return credit_services.Source.PURCHASE, REASON_PURCHASE


def claw_back_upgraded_period(purchase: Purchase, *, now: datetime) -> None:
    """If this purchase is an upgrade, claw back the unused credits of the periods that it replaces.

    Runs just before the new credits are granted, so that these repay spent ones at once. Also runs
    if no credits follow because the upgrade has been refunded already.
    """
    if purchase.is_renewal or not periods.is_period(purchase):
        return
    for earlier in periods.overlapped_periods(purchase):
        if earlier.credits:
            _sync_clawed_back_share(earlier, now=now)
            earlier.save(update_fields=["clawed_back_share"])


def sync_clawback(purchase: Purchase, product: Product | None, *, now: datetime) -> None:
    """Make the clawed back credits and the lot's expiry agree with the purchase."""
    if not purchase.credits:
        return
    _sync_clawed_back_share(purchase, now=now)
    if product and _expires_with_period(product) and purchase.expires_at:
        credit_services.extend_expiry(transaction_id=purchase.ledger_id, until=purchase.expires_at)


def _expires_with_period(product: Product) -> bool:
    return product.kind == ProductKind.SUBSCRIPTION and product.rollover == Rollover.LAPSE


def _sync_clawed_back_share(purchase: Purchase, *, now: datetime) -> None:
    """Claw back the refunded share, or the share that an upgrade cut off, whichever is larger:
    Apple refunds the latter too, except for a free period. The share is a total, so that only what
    is missing is booked.
    """
    is_cut_off = periods.is_period(purchase) and not purchase.is_free
    replaced = periods.unused_period_share(purchase) if is_cut_off else 0
    share = max(purchase.revoked_share, replaced)
    if share < purchase.clawed_back_share:
        credit_services.reverse_clawback(
            transaction_id=purchase.ledger_id, reason=REASON_REFUND_REVERSED, now=now
        )
    if share and share != purchase.clawed_back_share:
        credit_services.claw_back(
            transaction_id=purchase.ledger_id,
            share=share,
            reason=REASON_UPGRADED if replaced > purchase.revoked_share else REASON_REFUNDED,
            now=now,
        )
    purchase.clawed_back_share = share
