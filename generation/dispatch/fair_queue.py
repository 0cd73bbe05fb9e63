"""Whose turn it is among the jobs that wait to be submitted.

Everybody's first before anybody's second: who has fewest jobs at the providers comes first, then
who has waited longest. Beyond the limit of their tier a user's jobs wait for their own others;
that wait, and the wait for room at a provider that is well, is not the provider's failure: it puts
the submit deadline off, up to JOB_WAIT_DEADLINE_SECONDS from the order.
"""

from __future__ import annotations

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

# So many of those that wait are looked at in one claim.
WINDOW_SIZE = 500
# For how long a job steps aside when it keeps others out of the window.
DEFER_DELAY = timedelta(seconds=5)


@dataclass(frozen=True)
class WaitingJob:
    id: UUID
    user_id: UUID
    deadline_at: datetime


@dataclass(frozen=True)
class Ranking:
    overdue: list[UUID]
    ranked: list[UUID]  # in the order of their turns
    over_concurrency_limit: list[UUID]
    window_is_full: bool


def rank_waiting(*, queue: str, unavailable_models: Iterable[UUID], now: datetime) -> Ranking:
    """Who is next. Jobs of `shut_models`, which nobody could take now, count only once overdue."""
    waiting = _window(queue=queue, unavailable_models=unavailable_models, now=now)
    overdue = [job.id for job in waiting if job.deadline_at <= now]
    in_time = [job for job in waiting if job.deadline_at > now]
    user_ids = {job.user_id for job in in_time}
    tiers = account_queries.get_tiers(user_ids, now=now)
    ahead = Counter(_count_in_flight(user_ids))
    ranked: list[tuple[int, int, UUID]] = []
    beyond = []
    for place, job in enumerate(in_time):
        if ahead[job.user_id] >= settings.JOBS_AT_ONCE[tiers[job.user_id]]:
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
    # Taken back while it was being sent, and then not taken: that is for `cancel` to end.
    return Job.objects.due(now, queue=queue, stages=[Stage.SUBMIT]).filter(cancel_requested_at=None)


def _count_in_flight(user_ids: set[UUID]) -> dict[UUID, int]:
    rows = (
        Job.objects.filter(user_id__in=user_ids, stage__in=IN_FLIGHT)
        .values_list("user_id")
        .annotate(Count("id"))
        .order_by()
    )
    return dict(rows)


def defer(job_ids: list[UUID], *, now: datetime) -> None:
    """Look at these a little later, so that there is room in the window for others."""
    Job.objects.filter(id__in=job_ids, stage=Stage.SUBMIT).update(
        due_at=Least(now + DEFER_DELAY, F("deadline_at"))
    )


def extend_submit_deadline(jobs: QuerySet[Job], *, now: datetime) -> None:
    """These wait for no failure: their submit deadline begins anew when half of it is over, and is
    never brought forward: what comes late from another route has all of its own."""
    whole = timedelta(seconds=settings.JOB_SUBMIT_DEADLINE_SECONDS)
    longest = timedelta(seconds=settings.JOB_WAIT_DEADLINE_SECONDS)
    jobs.filter(stage=Stage.SUBMIT, deadline_at__gt=now, deadline_at__lt=now + whole / 2).update(
        deadline_at=Greatest(F("deadline_at"), Least(now + whole, F("created_at") + longest))
    )
