"""The limit on credits from Apple's sandbox, where testers and App Review buy without paying.

Guarantee: users who are not listed in APPSTORE_SANDBOX_TESTERS are granted at most
APPSTORE_SANDBOX_CREDITS from sandbox purchases: each user, each Apple account over all of its
users, and each account over its merged guests. Only grants count, so a refund makes no room for
another purchase.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection
from django.db.models import Sum

from billing.models import Environment, Purchase, PurchaseQuerySet
from credits import services as credit_services

logger = structlog.get_logger(__name__)


def capped_credits(purchase: Purchase, *, user_id: UUID, credits: int) -> int:
    """Return how many of these credits a purchase may grant: all of them outside of the sandbox.

    Joins the caller's transaction, which has locked the user's wallet. The Apple account is locked
    last, so that two of its users cannot both be granted the rest.
    """
    if purchase.environment != Environment.SANDBOX or _is_tester(user_id):
        return credits
    if not purchase.app_transaction_id:
        # Without the Apple account, its grants to other guests cannot be counted.
        logger.warning("sandbox_purchase_names_no_apple_account", purchase_id=str(purchase.id))
        return 0
    _lock_apple_account(purchase.app_transaction_id)
    granted = max(
        _total_granted(Purchase.objects.filter(user_id=user_id)),
        _total_granted(Purchase.objects.filter(app_transaction_id=purchase.app_transaction_id)),
    )
    allowed = min(credits, max(settings.APPSTORE_SANDBOX_CREDITS - granted, 0))
    if allowed < credits:
        logger.info(
            "sandbox_purchase_limited",
            purchase_id=str(purchase.id),
            credits=credits,
            allowed=allowed,
        )
    return allowed


def sandbox_purchases_of(user_id: UUID) -> list[Purchase]:
    """Return a user's sandbox purchases that granted credits, newest first."""
    return list(_with_credits(Purchase.objects.filter(user_id=user_id)).order_by("-id"))


def cap_after_merge(moved: Sequence[Purchase], *, into_user_id: UUID, now: datetime) -> None:
    """Supersede a guest's sandbox credits, newest purchase first, until the account is within the
    limit.

    Joins the caller's transaction, which has merged the two wallets. `moved`: the guest's purchases
    (sandbox_purchases_of), which the account owns by now.
    """
    if not moved or _is_tester(into_user_id):
        return
    excess = (
        _total_granted(Purchase.objects.filter(user_id=into_user_id))
        - settings.APPSTORE_SANDBOX_CREDITS
    )
    for purchase in moved:
        if excess <= 0:
            return
        credit_services.supersede_purchase(transaction_id=purchase.ledger_id, now=now)
        excess -= purchase.credits or 0


def _is_tester(user_id: UUID) -> bool:
    return user_id in settings.APPSTORE_SANDBOX_TESTERS


def _total_granted(purchases: PurchaseQuerySet) -> int:
    total: int | None = _with_credits(purchases).aggregate(total=Sum("credits"))["total"]
    return total or 0


def _with_credits(purchases: PurchaseQuerySet) -> PurchaseQuerySet:
    return purchases.filter(environment=Environment.SANDBOX, credits__gt=0)


def _lock_apple_account(app_transaction_id: str) -> None:
    """Lock until the transaction ends. Advisory: there is no row for an Apple account."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
            [f"sandbox purchases of {app_transaction_id}"],
        )
