"""Verify the ledger regularly, so that staff learn of a discrepancy before a customer does.

At most once in LEDGER_PROOF_SECONDS. If the worker dies, the next check runs at the next interval.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction

from credits import ledger_check
from credits.models import LedgerCheck
from rendio.common import clock

logger = structlog.get_logger(__name__)


def verify_ledger_if_due(*, now: datetime) -> bool:
    """Verify the ledger if a check is due, and store the result; return whether a check ran. Opens
    its own transactions.
    """
    next_at = now + timedelta(seconds=settings.LEDGER_PROOF_SECONDS)
    with transaction.atomic(durable=True):
        if not LedgerCheck.objects.filter(due_at__lte=now).update(due_at=next_at):
            return False
    report = ledger_check.verify_ledger()
    ended = clock.now()
    changes = {"balanced_at": ended} if not report.discrepancies else {}
    LedgerCheck.objects.update(
        checked_at=ended,
        discrepancies=len(report.discrepancies),
        entry_count=report.entries,
        **changes,
    )
    for discrepancy in report.discrepancies:
        logger.error(
            "ledger_differs",
            wallet_id=str(discrepancy.wallet_id),
            what=discrepancy.problem,
            expected=discrepancy.expected,
            found=discrepancy.found,
        )
    return True
