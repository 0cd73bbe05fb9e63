"""Settling purchases that whoever recorded them did not come to settle: a crash lies between."""

from __future__ import annotations

from datetime import datetime

from billing.models import Purchase
from billing.services import purchases
from rendio.common.due import each, take

BATCH = 50


def settle_due(*, now: datetime) -> int:
    """Settle what is due, up to BATCH; returns how many were looked at."""
    rows = take(Purchase.objects.all(), now=now, limit=BATCH)
    each(rows, lambda row: purchases.settle(row.id, now=now))
    return len(rows)
