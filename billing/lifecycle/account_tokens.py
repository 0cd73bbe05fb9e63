"""Having Apple name the account in what a guest bought (Set App Account Token).

Nothing of ours depends on it: a closed guest's token counts as the account's. It makes Apple's word
the same as ours, in renewals too.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from billing.appstore import client
from billing.errors import StoreUnavailable
from billing.models import Environment, TokenChange
from rendio.common.due import claim_due, for_each_logged

logger = structlog.get_logger(__name__)

BATCH = 20
TRIED_FOR = timedelta(days=30)


def change_due(*, now: datetime) -> int:
    """Tell Apple of what is due, up to BATCH; returns how many were taken."""
    rows = claim_due(TokenChange.objects.all(), now=now, limit=BATCH)
    for_each_logged(rows, lambda row: _change(row, now=now), stop_at=StoreUnavailable)
    return len(rows)


def _change(row: TokenChange, *, now: datetime) -> None:
    try:
        client.set_account_token(
            environment=Environment(row.environment),
            original_transaction_id=row.original_transaction_id,
            token=row.user_id,
        )
    except (StoreUnavailable, client.Refused) as problem:
        is_final = isinstance(problem, client.Refused) and problem.is_final
        if not is_final and row.created_at > now - TRIED_FOR:
            raise
        logger.warning("token_change_given_up", problem=str(problem), tries=row.tries)
    row.delete()
