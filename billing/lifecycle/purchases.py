"""Settling purchases that whoever recorded them did not come to settle: a crash lies between."""

from __future__ import annotations

from datetime import datetime

from billing.models import Purchase
from billing.services import purchases
from rendio.common.due import claim_due, for_each_logged

BATCH = 50


def settle_due(*, now: datetime) -> int:
    """Settle what is due, up to BATCH; returns how many were looked at."""
    rows = claim_due(Purchase.objects.all(), now=now, limit=BATCH)
    for_each_logged(rows, lambda row: purchases.sync_ledger(row.id, now=now))
    return len(rows)
