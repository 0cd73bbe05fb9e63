"""Ask Apple about subscriptions that ended without a notification.

Notifications of renewals may be lost: Apple's sandbox sends each once. Apple is asked once for each
end, shortly after it. Gaps before the latest period are found by the daily backfill.
"""

from __future__ import annotations

from datetime import datetime

import structlog

from billing.appstore import client, verifier
from billing.appstore.payloads import Unreadable
from billing.due_work import CHECK_SUBSCRIPTIONS
from billing.errors import StoreUnavailable
from billing.models import Environment, PayloadKind, Subscription
from billing.services import purchases, subscriptions, unreadable
from rendio.common.background.due_work import due_work

logger = structlog.get_logger(__name__)


@due_work(CHECK_SUBSCRIPTIONS, stop_on=StoreUnavailable)
def check_subscription(row: Subscription, *, now: datetime) -> None:
    try:
        found = client.find_periods(
            environment=Environment(row.environment),
            original_transaction_id=row.original_transaction_id,
        )
    except client.Rejected as rejection:
        if not rejection.is_final:
            raise
        logger.warning("subscription_not_known", problem=str(rejection))
        found = []
    for period in found:
        _follow(period, now=now)
    if row.current_period_id:
        # Without a further period, this ends the stored tier, which has expired already.
        purchases.sync_ledger(row.current_period_id, now=now)
    subscriptions.mark_checked(row.id, now=now)


def _follow(period: client.SignedPeriod, *, now: datetime) -> None:
    """Apply a period. An unreadable part is stored for staff and does not stop the rest. Raises
    NotGenuine.
    """
    try:
        subscriptions.upsert_from_apple(verifier.read_renewal(period.renewal))
    except Unreadable as problem:
        unreadable.store_unreadable(problem, kind=PayloadKind.RENEWAL, now=now)
    try:
        transaction = verifier.read_transaction(period.transaction)
    except Unreadable as problem:
        unreadable.store_unreadable(problem, kind=PayloadKind.TRANSACTION, now=now)
        return
    purchases.sync_ledger(purchases.upsert_from_apple(transaction, now=now).id, now=now)
