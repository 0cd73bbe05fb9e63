"""The background work of credits: due rows, queues, and how often beat looks."""

from __future__ import annotations

from credits.models import LedgerCheck
from rendio.common.background.due_work import DueRows, DueWork

CHECK_LEDGER = DueWork(
    "credits.prove_ledger",
    # The alert for a ledger that is not checked in time reads another gauge (ops/alerts.yml).
    DueRows("", LedgerCheck.objects.all),
    # A long read, and no user waits for its result.
    queue="low",
    # Beat looks every minute; the check runs once in LEDGER_PROOF_SECONDS.
    every_seconds=60,
    time_limit_seconds=1800,
)
EXPIRE_AND_PURGE = DueWork("credits.sweep", every_seconds=60, is_periodic=True)
