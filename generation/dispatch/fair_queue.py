"""Fair queueing of the jobs that wait to be submitted.

Users with the fewest jobs in flight go first, then the longest waiting job. A user has at most
JOBS_AT_ONCE jobs of their tier in flight; further jobs wait for these.

A job that waits for its user's other jobs, or for capacity at a healthy provider, does not time
out: its submit deadline is extended, up to JOB_WAIT_DEADLINE_SECONDS after the order.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Count, F, Q, QuerySet
from django.db.models.functions import Greatest, Least

from accounts import queries as account_queries
from generation.models import IN_FLIGHT, Job, Stage

# Waiting jobs that are read for one batch.
WINDOW_SIZE = 500
# Delay of a job that would fill the window and cannot be sent.
DEFER_DELAY = timedelta(seconds=5)


@dataclass(frozen=True)
class WaitingJob:
    id: UUID
    user_id: UUID
    deadline_at: datetime


@dataclass(frozen=True)
class Ranking:
    overdue: list[UUID]
    ranked: list[UUID]  # next job first
    over_concurrency_limit: list[UUID]
    window_is_full: bool


def rank_waiting(*, queue: str, unavailable_models: Iterable[UUID], now: datetime) -> Ranking:
    """Rank the waiting jobs. Jobs of `unavailable_models` are left out until they are overdue."""
    waiting = _window(queue=queue, unavailable_models=unavailable_models, now=now)
    overdue = [job.id for job in waiting if job.deadline_at <= now]
    in_time = [job for job in waiting if job.deadline_at > now]
    ahead = Counter(_count_in_flight({job.user_id for job in in_time}))
    limits = _concurrency_limits(ahead + Counter(job.user_id for job in in_time), now=now)
    ranked: list[tuple[int, int, UUID]] = []
    beyond = []
    for place, job in enumerate(in_time):
        if ahead[job.user_id] >= limits.get(job.user_id, math.inf):
            beyond.append(job.id)
        else:
            ranked.append((ahead[job.user_id], place, job.id))
        ahead[job.user_id] += 1
    return Ranking(
        overdue, [job_id for *_, job_id in sorted(ranked)], beyond, len(waiting) >= WINDOW_SIZE
    )


def _window(*, queue: str, unavailable_models: Iterable[UUID], now: datetime) -> list[WaitingJob]:
    rows = (
        waiting_jobs(queue=queue, now=now)
        .filter(Q(deadline_at__lte=now) | ~Q(model_id__in=list(unavailable_models)))
        .values_list("id", "user_id", "deadline_at")[:WINDOW_SIZE]
    )
    return [
        WaitingJob(job_id, user_id, deadline_at or now) for job_id, user_id, deadline_at in rows
    ]


def waiting_jobs(*, queue: str, now: datetime) -> QuerySet[Job]:
    # lifecycle.cancel ends a job that was cancelled during a submission that then failed.
    return Job.objects.due(now, queue=queue, stages=[Stage.SUBMIT]).filter(cancel_requested_at=None)


def _count_in_flight(user_ids: set[UUID]) -> dict[UUID, int]:
    rows = (
        Job.objects.filter(user_id__in=user_ids, stage__in=IN_FLIGHT)
        .values_list("user_id")
        .annotate(Count("id"))
        .order_by()
    )
    return dict(rows)


def _concurrency_limits(jobs: Counter[UUID], *, now: datetime) -> dict[UUID, int]:
    """The most jobs in flight of each user who may reach a limit. `jobs`: waiting and in flight.

    The tiers of users with no more jobs than every tier allows are not read.
    """
    lowest = min(settings.JOBS_AT_ONCE.values())
    tiers = account_queries.get_tiers(
        [user_id for user_id, count in jobs.items() if count > lowest], now=now
    )
    return {user_id: settings.JOBS_AT_ONCE[tier] for user_id, tier in tiers.items()}


def defer(job_ids: list[UUID], *, now: datetime) -> None:
    """Make these jobs due later, so that others fit into the window."""
    Job.objects.filter(id__in=job_ids, stage=Stage.SUBMIT).update(
        due_at=Least(now + DEFER_DELAY, F("deadline_at"))
    )


def extend_submit_deadline(jobs: QuerySet[Job], *, now: datetime) -> None:
    """Restart the submit deadline of jobs whose deadline is half over. Never shortens a deadline.

    A job that arrives from a failed route has a full deadline of its own.
    """
    whole = timedelta(seconds=settings.JOB_SUBMIT_DEADLINE_SECONDS)
    longest = timedelta(seconds=settings.JOB_WAIT_DEADLINE_SECONDS)
    jobs.filter(stage=Stage.SUBMIT, deadline_at__gt=now, deadline_at__lt=now + whole / 2).update(
        deadline_at=Greatest(F("deadline_at"), Least(now + whole, F("created_at") + longest))
    )
