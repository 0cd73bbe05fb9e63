"""Asking Apple again for what a phone has bought while Apple was out of reach."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from billing.errors import StoreUnavailable, UnreadablePurchase
from billing.models import UnconfirmedPurchase
from billing.services import confirmation
from rendio.common.due import claim_due, for_each_logged
from rendio.common.errors import Refusal, RequestInProgress

logger = structlog.get_logger(__name__)

BATCH = 20
# By then the phone has asked again, or the history of notifications has told.
TRIED_FOR = timedelta(days=30)


def confirm_due(*, now: datetime) -> int:
    """Ask for what is due, up to BATCH; returns how many were taken."""
    rows = claim_due(UnconfirmedPurchase.objects.all(), now=now, limit=BATCH)
    for_each_logged(rows, lambda row: _confirm(row, now=now), stop_at=StoreUnavailable)
    return len(rows)


def _confirm(row: UnconfirmedPurchase, *, now: datetime) -> None:
    try:
        confirmation.confirm_purchase(
            user_id=row.user_id, transaction_id=row.transaction_id, now=now
        )
    except UnreadablePurchase:
        # It is kept for a person (services.unreadable). The others of the batch can be read.
        if row.created_at > now - TRIED_FOR:
            return
        logger.warning("unconfirmed_purchase_given_up", tries=row.tries)
    except (StoreUnavailable, RequestInProgress):  # Apple is out, or the wallet in use
        if row.created_at > now - TRIED_FOR:
            raise
        logger.warning("unconfirmed_purchase_given_up", tries=row.tries)
    except Refusal as refusal:
        logger.info("unconfirmed_purchase_refused", refusal=refusal.type)
    row.delete()
