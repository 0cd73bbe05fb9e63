"""The Celery tasks of credits. Late and repeated runs are harmless."""

from __future__ import annotations

from datetime import datetime

from credits import idempotency, services
from credits.due_work import CHECK_LEDGER, EXPIRE_AND_PURGE
from rendio.common.background import purge
from rendio.common.background.due_rows import run_all
from rendio.common.background.due_work import due_batch

# Of 100 lots each; the next task meets the rest.
MAX_BATCHES = 50


@due_batch(CHECK_LEDGER)
def check_ledger(*, now: datetime) -> None:
    services.verify_ledger_if_due(now=now)


@due_batch(EXPIRE_AND_PURGE)
def expire_and_purge(*, now: datetime) -> None:
    run_all(
        lambda: _expire_lots(now=now),
        lambda: purge.run_deletes(lambda: idempotency.purge_expired(now=now)),
    )


def _expire_lots(*, now: datetime) -> None:
    for _ in range(MAX_BATCHES):
        if not services.expire_due_lots(now=now):
            return
