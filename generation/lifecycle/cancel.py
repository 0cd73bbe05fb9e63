"""Asking a provider to stop. Money moves only on what the provider then says, or at the
deadline."""

from __future__ import annotations

from datetime import datetime, timedelta
from operator import itemgetter

from generation.due_work import CANCEL_JOBS, CANCELLABLE_STAGES
from generation.lifecycle import settle
from generation.lifecycle.claims import run_concurrently
from generation.lifecycle.poll import open_submissions
from generation.models import Job, ProviderRequest, Stage
from generation.providers import get_provider
from generation.providers.base import (
    CancelResult,
    Done,
    Failed,
    FailureReason,
    Handle,
    Running,
    Unknown,
)
from rendio.common.due import for_each_logged, lease_due
from rendio.common.due_work import due_batch

BATCH = CANCEL_JOBS.batch
# Until a cancellation that came to nothing is tried again; meanwhile it is the turn of others.
RETRY_DELAY = timedelta(seconds=5)
# Connect and read: the first who asks waits for it, phone in hand.
TIMEOUT_SECONDS = (3.0, 5.0)

_Item = tuple[Job, tuple[str, Handle]]


@due_batch(CANCEL_JOBS)
def cancel_due(*, now: datetime) -> int:
    """Pass on the cancellations that no provider has been told yet; returns how many were looked
    at.

    Each is due again after RETRY_DELAY before anything is done about it, so one that breaks each
    time, or has nobody to be asked, holds up no other. Asking may take longer than that, and two
    workers may both ask: that is harmless. A job in the stage SENT is seen here when it is known
    who has it.
    """
    jobs = lease_due(
        Job.objects.filter(stage__in=CANCELLABLE_STAGES),
        column="cancel_requested_at",
        now=now,
        limit=BATCH,
        lease=RETRY_DELAY,
    )
    cancel(jobs, now=now)
    return len(jobs)


def cancel(jobs: list[Job], *, now: datetime) -> None:
    """Ask the provider to stop each job; those that it has stopped are cancelled and refunded."""
    handles = open_submissions(jobs)
    asked = [(job, handles[job.id]) for job in jobs if job.id in handles]
    # Once it has been stopped, no provider tells whether it had begun. So that is recorded before,
    # as several calls at once may ask to stop the same job.
    run_concurrently(
        [(job, submission) for job, submission in asked if job.stage != Stage.RUNNING],
        _fetch_status,
        _record_start,
        job_of=itemgetter(0),
        now=now,
    )
    run_concurrently(
        asked,
        _stop,
        _apply,
        job_of=itemgetter(0),
        now=now,
    )
    for_each_logged(
        [job for job in jobs if job.stage == Stage.SUBMIT],
        lambda job: settle.cancel_before_submit(job, now=now),
    )


def _fetch_status(item: _Item) -> Running | Done | Unknown:
    _, (provider_name, handle) = item
    return get_provider(provider_name).status(handle, timeout=TIMEOUT_SECONDS)


def _record_start(item: _Item, reading: Running | Done | Unknown, now: datetime) -> None:
    """A user may cancel between two looks of ours, and the provider takes its price from the
    start."""
    if not (isinstance(reading, Running) and reading.is_started):
        return
    job, (_, handle) = item
    requests = ProviderRequest.objects.filter(job=job, provider_request_id=handle.request_id)
    if sent_at := requests.values_list("sent_at", flat=True).first():
        # The clock of the machine that sent it may be ahead of ours.
        Job.objects.filter(id=job.id, stage=job.stage).update(started_at=max(now, sent_at))


def _apply(item: _Item, answer: Failed | Running | Unknown, now: datetime) -> None:
    job, submission = item
    if isinstance(answer, Failed):
        settle.fail(job, FailureReason.CANCELLED, now=now, cost_usd=answer.cost_usd)
    elif isinstance(answer, Running):
        ProviderRequest.objects.filter(
            job=job, provider_request_id=submission[1].request_id
        ).update(cancel_asked_at=now)
        # It has been asked and runs on (or has finished): looking tells how it ends.
        Job.objects.filter(id=job.id, stage=job.stage, leased_until=None).update(
            cancel_requested_at=None, due_at=now
        )
    else:
        Job.objects.filter(id=job.id, cancel_requested_at__isnull=False).update(
            cancel_requested_at=now + RETRY_DELAY
        )


def _stop(item: _Item) -> Failed | Running | Unknown:
    """Failed: it will not be made. Running: it goes on, or has finished. Unknown: we could not
    ask."""
    _, (provider_name, handle) = item
    provider = get_provider(provider_name)
    answer = provider.cancel(handle, timeout=TIMEOUT_SECONDS)
    if answer == CancelResult.UNKNOWN:
        return Unknown("not asked")
    if answer == CancelResult.CANCELLED:
        return Failed(FailureReason.CANCELLED, "", "")
    result = provider.result(handle, kind=item[0].media_kind, timeout=TIMEOUT_SECONDS)
    if isinstance(result, Failed) and result.reason == FailureReason.CANCELLED:
        return result
    return Running(is_started=True)
