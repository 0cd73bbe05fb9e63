"""Cancellations at the providers: of jobs that users cancelled, and of abandoned submissions.

At least once. A user's cancellation refunds the job only after the provider has confirmed it, or at
the deadline. An abandoned submission is one whose job was refunded at a deadline: cancelling it is
best effort and saves our cost. If it has finished nevertheless, the user gets the result.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from operator import attrgetter, itemgetter

from django.db import transaction

from generation.due_work import CANCEL_ABANDONED, CANCEL_JOBS, CANCELLABLE_STAGES
from generation.lifecycle import dead_letters, settle
from generation.lifecycle.concurrency import run_concurrently
from generation.lifecycle.submissions import open_submissions, to_handle
from generation.models import Job, ProviderRequest, Stage
from generation.providers import get_provider
from generation.providers.base import (
    CancelResult,
    Done,
    Failed,
    FailureReason,
    Handle,
    Media,
    Running,
    Unknown,
)
from rendio.common.background.due_rows import for_each_logged, lease_due
from rendio.common.background.due_work import due_batch
from rendio.common.errors import InvalidState

BATCH = CANCEL_JOBS.batch
# Pause before a failed cancellation is tried again.
RETRY_DELAY = timedelta(seconds=5)
# Connect and read. The first attempt runs inside the user's request.
TIMEOUT_SECONDS = (3.0, 5.0)
# For abandoned submissions. Longer than a call takes, so that no other worker calls meanwhile.
ABANDONED_LEASE = timedelta(seconds=60)
# By then the submission has ended.
GIVE_UP_AFTER = timedelta(hours=1)

_Item = tuple[Job, tuple[str, Handle]]


@due_batch(CANCEL_JOBS)
def cancel_due(*, now: datetime) -> int:
    """Send the cancellations that no provider has received yet. Returns the number of jobs.

    A job is due again after RETRY_DELAY, set before the call, so a job that always fails delays no
    other. A call may take longer, and two workers may then both cancel, which is harmless. A job of
    the stage SENT waits until its provider has answered.
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
    """Ask the providers to cancel these jobs. Refund each job that its provider has cancelled."""
    handles = open_submissions(jobs)
    submitted = [(job, handles[job.id]) for job in jobs if job.id in handles]
    # A provider does not report the start of a cancelled job, and several requests may cancel the
    # same job at once. So the start is recorded first.
    run_concurrently(
        [(job, submission) for job, submission in submitted if job.stage != Stage.RUNNING],
        _fetch_status,
        _record_start,
        job_of=itemgetter(0),
        now=now,
    )
    run_concurrently(
        submitted,
        _cancel_at_provider,
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


def _record_start(item: _Item, status: Running | Done | Unknown, now: datetime) -> None:
    """Record a start since the last poll: from then on the provider charges."""
    if not (isinstance(status, Running) and status.is_started):
        return
    job, (_, handle) = item
    requests = ProviderRequest.objects.filter(job=job, provider_request_id=handle.request_id)
    if sent_at := requests.values_list("sent_at", flat=True).first():
        # The clock of the machine that sent the request may be ahead of this one.
        Job.objects.filter(id=job.id, stage=job.stage).update(started_at=max(now, sent_at))


def _cancel_at_provider(item: _Item) -> Failed | Running | Unknown:
    """Failed: the provider cancelled the job. Running: the job continues, or has finished. Unknown:
    the call failed."""
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


def _apply(item: _Item, answer: Failed | Running | Unknown, now: datetime) -> None:
    job, submission = item
    if isinstance(answer, Failed):
        settle.fail(job, FailureReason.CANCELLED, now=now, cost_usd=answer.cost_usd)
    elif isinstance(answer, Running):
        ProviderRequest.objects.filter(
            job=job, provider_request_id=submission[1].request_id
        ).update(cancel_asked_at=now)
        # Due now: a poll finds out how the job ends.
        Job.objects.filter(id=job.id, stage=job.stage, leased_until=None).update(
            cancel_requested_at=None, due_at=now
        )
    else:
        Job.objects.filter(id=job.id, cancel_requested_at__isnull=False).update(
            cancel_requested_at=now + RETRY_DELAY
        )


@due_batch(CANCEL_ABANDONED)
def cancel_abandoned_due(*, now: datetime) -> int:
    """Cancel due abandoned submissions, up to a batch concurrently. Returns how many."""
    requests = lease_due(
        ProviderRequest.objects.select_related("job"),
        column="cancel_due_at",
        now=now,
        limit=CANCEL_ABANDONED.batch,
        lease=ABANDONED_LEASE,
    )
    run_concurrently(requests, _send_abandoned, _apply_abandoned, job_of=attrgetter("job"), now=now)
    return len(requests)


def _send_abandoned(request: ProviderRequest) -> CancelResult | Media:
    """Media: the submission has finished after its job was refunded."""
    provider, handle = get_provider(request.provider), to_handle(request)
    answer = provider.cancel(handle)
    if answer == CancelResult.TOO_LATE:
        result = provider.result(handle, kind=request.job.media_kind)
        return result if isinstance(result, Media) else answer
    return answer


def _apply_abandoned(
    request: ProviderRequest, answer: CancelResult | Media | Unknown, now: datetime
) -> None:
    if isinstance(answer, Media):
        _fetch_late_result(request, now=now)
        return
    is_sent = answer in {CancelResult.REQUESTED, CancelResult.CANCELLED, CancelResult.TOO_LATE}
    elapsed = now - (request.ended_at or now)
    # Each pause is as long as all attempts so far.
    retry_at = None if is_sent or elapsed > GIVE_UP_AFTER else now + max(elapsed, ABANDONED_LEASE)
    ProviderRequest.objects.filter(id=request.id).update(
        cancel_due_at=retry_at, cancel_asked_at=now if is_sent else None
    )


def _fetch_late_result(request: ProviderRequest, *, now: datetime) -> None:
    """Have the result stored for the user. The refund stands."""
    with transaction.atomic(durable=True):
        ProviderRequest.objects.filter(id=request.id).update(cancel_due_at=None)
        with suppress(InvalidState):  # the result, or that of a later submission, is there already
            dead_letters.refetch_result(request.job_id, request_id=request.id, now=now)
