"""Looking how a job goes: the safety net under the webhooks.

May look twice, may look late; reads only, so neither matters. Deadlines are kept here: a job in
these stages is always due at its deadline at the latest.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any
from uuid import UUID

from django.conf import settings

from generation.catalogue import cache
from generation.due_work import POLL_JOBS, STORE_RESULTS
from generation.lifecycle import failover, route_timing
from generation.lifecycle.claims import claim, run_concurrently, update_if_claimed
from generation.models import (
    PROGRESS_QUEUED,
    PROGRESS_RUNNING,
    PROGRESS_STORING,
    Job,
    Model,
    ProviderRequest,
    RequestState,
    Stage,
)
from generation.providers import get_provider
from generation.providers.base import Done, FailureReason, Handle, Running, Unknown
from rendio.common.due_work import due_batch

BATCH = POLL_JOBS.batch
STAGES = [Stage.SENT, Stage.QUEUED, Stage.RUNNING]
DEFAULT_RUN_SECONDS = 600

PollResult = Running | Done | Unknown
# A job with its submission, where that has a handle: the provider's name and the handle.
PollItem = tuple[Job, tuple[str, Handle] | None]


@due_batch(POLL_JOBS)
def poll_due(*, queue: str, now: datetime) -> int:
    """Look at what is due in `queue`, up to BATCH side by side; returns how many."""
    jobs = claim(queue=queue, stages=STAGES, now=now, limit=BATCH)
    handles = open_submissions(jobs)
    run_concurrently(
        [(job, handles.get(job.id)) for job in jobs],
        _fetch_status,
        _apply,
        job_of=itemgetter(0),
        now=now,
    )
    return len(jobs)


def open_submissions(jobs: list[Job]) -> dict[UUID, tuple[str, Handle]]:
    """Job id → (provider, handle) of its live submission, where that has one."""
    requests = ProviderRequest.objects.filter(
        job__in=jobs, state__in=[RequestState.SENDING, RequestState.ACCEPTED]
    ).exclude(provider_request_id="")
    return {request.job_id: (request.provider, to_handle(request)) for request in requests}


def to_handle(request: ProviderRequest) -> Handle:
    return Handle(
        request.provider_request_id,
        request.status_url,
        request.response_url,
        request.cancel_url,
        request.key_label,
        request.raw_result,
    )


def _fetch_status(item: PollItem) -> PollResult:
    _, submission = item
    if submission is None:
        # A submission without an answer: all that can be waited for is its webhook or its deadline.
        return Unknown("no handle")
    provider, handle = submission
    return get_provider(provider).status(handle)


def _apply(item: PollItem, reading: PollResult, now: datetime) -> None:
    job, _ = item
    deadline = job.deadline_at or now
    if isinstance(reading, Done):
        mark_ready_to_store(job, now=now)
        return
    changes: dict[str, Any] = {"tries": job.tries + 1}
    if isinstance(reading, Running):
        changes["queue_position"] = reading.queue_position
        if reading.is_started:
            deadline = _running_changes(job, reading, changes, now=now)
        else:
            changes["progress"] = max(job.progress, PROGRESS_QUEUED)
    if now >= deadline:
        failover.try_next_or_fail(
            job, FailureReason.TIMEOUT, now=now, detail=f"deadline of {job.stage}"
        )
        return
    update_if_claimed(
        job, due_at=min(now + route_timing.backoff(job.tries + 1), deadline), **changes
    )


def _running_changes(
    job: Job, reading: Running, changes: dict[str, Any], *, now: datetime
) -> datetime:
    """Fill in what a running job's row gets; returns its deadline, which counts from the first
    sight."""
    deadline = job.deadline_at or now
    if job.stage != Stage.RUNNING:
        deadline = now + timedelta(seconds=run_seconds(job))
        changes |= {"stage": Stage.RUNNING, "started_at": now, "deadline_at": deadline}
    share = (PROGRESS_STORING - PROGRESS_RUNNING) * (reading.progress or 0) // 100
    changes["progress"] = max(job.progress, PROGRESS_RUNNING + share)
    return deadline


def run_seconds(job: Job) -> int:
    """How long it may run: the environment's word, else the model's own, else ten minutes."""
    # A model that was taken off sale meanwhile is no longer in the catalogue.
    model = (
        cache.current().models.get(job.model_id) or Model.objects.filter(id=job.model_id).first()
    )
    return (
        settings.JOB_RUN_DEADLINE_SECONDS
        or (model and model.run_deadline_seconds)
        or DEFAULT_RUN_SECONDS
    )


def mark_ready_to_store(job: Job, *, now: datetime) -> bool:
    """The provider has finished: fetch and keep it next."""
    moved = update_if_claimed(
        job,
        stage=Stage.STORE,
        due_at=now,
        deadline_at=now + timedelta(seconds=settings.JOB_STORE_DEADLINE_SECONDS),
        progress=max(job.progress, PROGRESS_STORING),
        queue_position=None,
    )
    if moved:
        STORE_RESULTS.wake_workers(queue=job.queue)
    return moved
