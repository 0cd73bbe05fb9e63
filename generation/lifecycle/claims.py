"""Claims of due jobs: one short transaction that skips rows locked by other workers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import Case, F, Value, When

from generation.due_work import JOB_LEASE
from generation.lifecycle import dead_letters, settle
from generation.models import DeadKind, Job, Stage
from generation.providers.base import FailureReason
from rendio.common.background.due_rows import for_each_logged, lease_due

MAX_LOST_LEASES = 5


def claim(
    *, queue: str, stages: Iterable[Stage], now: datetime, limit: int, lease: timedelta = JOB_LEASE
) -> list[Job]:
    """Claim up to `limit` due jobs for `lease`. If the worker dies, they are due again afterwards.

    A job that kills its workers would be claimed forever. After MAX_LOST_LEASES claims in a row
    without a result, the job fails and a dead letter is kept.
    """
    until = now + lease
    jobs = lease_due(
        Job.objects.filter(queue=queue, stage__in=list(stages)),
        now=now,
        limit=limit,
        lease=lease,
        leased_until=until,
        lost_leases=Case(When(leased_until=None, then=Value(0)), default=F("lost_leases") + 1),
    )
    for job in jobs:
        job.lost_leases = job.lost_leases + 1 if job.leased_until else 0
        job.leased_until = until
    for_each_logged(
        [job for job in jobs if job.lost_leases >= MAX_LOST_LEASES],
        lambda job: _give_up(job, now=now),
    )
    return [job for job in jobs if job.lost_leases < MAX_LOST_LEASES]


def _give_up(job: Job, *, now: datetime) -> None:
    why = f"{job.lost_leases} workers in a row ended without a result in the stage {job.stage}"
    dead_letters.record(DeadKind.JOB, str(job.id), why, now=now)
    settle.fail(job, FailureReason.WORKER_ERROR, now=now, error_type="broken", detail=why)
