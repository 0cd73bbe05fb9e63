"""Sweeps of credits: late is harmless, twice is harmless."""

from __future__ import annotations

from datetime import datetime

from celery import shared_task

from credits import idempotency, services
from rendio.common import clock, purge
from rendio.common.due import run_all

# Of 100 lots each; what is left is met by the next sweep.
MOST_BATCHES = 50


@shared_task(name="credits.prove_ledger", time_limit=1800)
def prove_ledger() -> None:
    services.verify_ledger_if_due(now=clock.now())


@shared_task(name="credits.sweep")
def sweep() -> None:
    now = clock.now()
    run_all(
        lambda: _lapse(now=now),
        lambda: purge.run_deletes(lambda: idempotency.purge_expired(now=now)),
    )


def _lapse(*, now: datetime) -> None:
    for _ in range(MOST_BATCHES):
        if not services.expire_due_lots(now=now):
            return
