"""Purchases that need a worker: sync with the ledger, confirm, update the account token at
Apple.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from billing.appstore import client
from billing.due_work import CONFIRM_PURCHASES, SYNC_PURCHASES, UPDATE_ACCOUNT_TOKENS
from billing.errors import StoreUnavailable, UnreadablePurchase
from billing.models import AppAccountTokenUpdate, Environment, Purchase, UnconfirmedPurchase
from billing.services import confirmation, purchases
from rendio.common.background.due_work import due_work
from rendio.common.errors import Refusal, RequestInProgress

logger = structlog.get_logger(__name__)

# By then the phone has retried, or a notification was backfilled.
GIVE_UP_AFTER = timedelta(days=30)


@due_work(SYNC_PURCHASES)
def sync_purchase(row: Purchase, *, now: datetime) -> None:
    """Sync a purchase whose recorder did not, for instance because of a crash."""
    purchases.sync_ledger(row.id, now=now)


@due_work(CONFIRM_PURCHASES, stop_on=StoreUnavailable)
def confirm_purchase(row: UnconfirmedPurchase, *, now: datetime) -> None:
    """Ask Apple again for a purchase that a phone named while Apple was unavailable."""
    try:
        confirmation.confirm_purchase(
            user_id=row.user_id, transaction_id=row.transaction_id, now=now
        )
    except UnreadablePurchase:
        # Stored for staff (services.unreadable). The rest of the batch may be readable.
        if row.created_at > now - GIVE_UP_AFTER:
            return
        logger.warning("unconfirmed_purchase_given_up", tries=row.tries)
    except (StoreUnavailable, RequestInProgress):  # Apple is unavailable, or the wallet is locked
        if row.created_at > now - GIVE_UP_AFTER:
            raise
        logger.warning("unconfirmed_purchase_given_up", tries=row.tries)
    except Refusal as refusal:
        logger.info("unconfirmed_purchase_refused", refusal=refusal.type)
    row.delete()


@due_work(UPDATE_ACCOUNT_TOKENS, stop_on=StoreUnavailable)
def update_account_token(row: AppAccountTokenUpdate, *, now: datetime) -> None:
    """Have Apple name the account in a guest's purchases (Set App Account Token).

    Nothing here depends on this: a closed guest's token counts as the account's. Later renewals
    then name the account too.
    """
    try:
        client.set_account_token(
            environment=Environment(row.environment),
            original_transaction_id=row.original_transaction_id,
            token=row.user_id,
        )
    except (StoreUnavailable, client.Rejected) as problem:
        is_final = isinstance(problem, client.Rejected) and problem.is_final
        if not is_final and row.created_at > now - GIVE_UP_AFTER:
            raise
        logger.warning("token_change_given_up", problem=str(problem), tries=row.tries)
    row.delete()
