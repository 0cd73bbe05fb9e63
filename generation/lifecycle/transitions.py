"""Changes of a job's stage: one function for each, with the stages that it may start from.

    SUBMIT -> SENT -> QUEUED -> RUNNING -> STORE -> CONVERT -> DONE

SENT to QUEUED is in `acceptances`, in one statement with the provider requests.

Each function is one UPDATE with compare-and-set. The row changes only if it still has the stage and
the lease of the given instance, and if the stage is one that the function may start from. False
means that another process changed the job first; the caller then has nothing to do. The condition
always holds for a job that the caller has locked.

Each function sets the time at which the job is due and its deadline, ends the lease, and wakes the
workers of the new stage on commit. A change that the user sees is announced.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet

from generation.due_work import CONVERT_VIDEOS, STORE_RESULTS, SUBMIT_JOBS
from generation.models import PROGRESS_STORING, Job, JobStatus, Stage
from rendio.common.background import changes as user_changes

AT_PROVIDER = [Stage.SENT, Stage.QUEUED, Stage.RUNNING]
NOT_DONE = [stage for stage in Stage if stage != Stage.DONE]


def as_claimed(job: Job) -> QuerySet[Job]:
    """The job's row, if stage and lease are those of the instance."""
    return Job.objects.filter(id=job.id, stage=job.stage, leased_until=job.leased_until)


def update_if_claimed(job: Job, **changes: Any) -> bool:
    """Write changes within the stage, and end the lease. False if the job changed meanwhile."""
    return _announce(job, has_changed=as_claimed(job).update(leased_until=None, **changes) == 1)


def to_sent(job_ids: Iterable[UUID], *, now: datetime) -> None:
    """SUBMIT to SENT, for jobs that the caller has locked. The provider requests are stored."""
    deadline = now + timedelta(seconds=settings.JOB_SUBMIT_DEADLINE_SECONDS)
    Job.objects.filter(id__in=list(job_ids), stage=Stage.SUBMIT).update(
        stage=Stage.SENT, due_at=deadline, deadline_at=deadline
    )


def to_deferred_submit(
    rows: QuerySet[Job], *, due_at: datetime, deadline_at: datetime, **changes: Any
) -> bool:
    """SENT to SUBMIT: the provider did not take the submission now, and nothing runs there.

    `rows` has the job, or is empty. Wakes no worker: the job is due later.
    """
    return _move(
        rows, [Stage.SENT], Stage.SUBMIT, due_at=due_at, deadline_at=deadline_at, **changes
    )


def to_running(job: Job, *, due_at: datetime, deadline_at: datetime, **changes: Any) -> bool:
    """SENT or QUEUED to RUNNING: the provider has started."""
    moved = _move(
        as_claimed(job),
        [Stage.SENT, Stage.QUEUED],
        Stage.RUNNING,
        due_at=due_at,
        deadline_at=deadline_at,
        leased_until=None,
        **changes,
    )
    return _announce(job, has_changed=moved)


def to_next_route(job: Job, *, now: datetime, tried_routes: list[str], progress: int) -> bool:
    """Any stage but SUBMIT and DONE to SUBMIT: a submission failed, another route is next."""
    moved = _move(
        as_claimed(job),
        [*AT_PROVIDER, Stage.STORE, Stage.CONVERT],
        Stage.SUBMIT,
        due_at=now,
        deadline_at=now + timedelta(seconds=settings.JOB_SUBMIT_DEADLINE_SECONDS),
        leased_until=None,
        queue_position=None,
        tries=0,
        tried_routes=tried_routes,
        progress=progress,
    )
    if moved:
        SUBMIT_JOBS.wake_workers(queue=job.queue)
    return _announce(job, has_changed=moved)


def to_store(job: Job, *, now: datetime, progress: int = PROGRESS_STORING, **changes: Any) -> bool:
    """Any stage but DONE to STORE: a provider has a result to download. Progress never falls.

    The job has not ended: STORE and CONVERT also occur after a refund, and such a job stays.
    """
    if job.is_terminal:
        raise ValueError(f"Job {job.id} has ended.")
    return _to_store(
        job,
        NOT_DONE,
        now=now,
        status=JobStatus.PROCESSING,
        progress=max(job.progress, progress),
        **changes,
    )


def reopen_to_store(job: Job, *, now: datetime) -> bool:
    """DONE to STORE: download a result after the refund. Status and refund of the job stand."""
    return _to_store(job, [Stage.DONE], now=now, lost_leases=0)


def _to_store(job: Job, start: Collection[Stage], *, now: datetime, **changes: Any) -> bool:
    moved = _move(
        as_claimed(job),
        start,
        Stage.STORE,
        due_at=now,
        deadline_at=now + timedelta(seconds=settings.JOB_STORE_DEADLINE_SECONDS),
        leased_until=None,
        queue_position=None,
        tries=0,
        **changes,
    )
    if moved:
        STORE_RESULTS.wake_workers(queue=job.queue)
    return _announce(job, has_changed=moved)


def keep_storing(job: Job, *, due_at: datetime) -> None:
    """STORE stays, for a job that the caller has locked and refunded: saves its end as well."""
    job.due_at, job.leased_until = due_at, None
    job.save(
        update_fields=[
            "status", "progress", "due_at", "leased_until", "error_code", "refund_entry",
            "fee_kept", "loss_usd", "completed_at",
        ]
    )  # fmt: skip
    user_changes.announce_on_commit(job.user_id)


def to_convert(job: Job, *, now: datetime, original_name: str) -> bool:
    """STORE to CONVERT: the provider's file is stored and needs converting. The deadline stays."""
    moved = _move(
        as_claimed(job),
        [Stage.STORE],
        Stage.CONVERT,
        due_at=now,
        leased_until=None,
        tries=0,
        original_name=original_name,
    )
    if moved:
        CONVERT_VIDEOS.wake_workers(queue=job.queue)
    return moved


def reopen_to_convert(job: Job, *, now: datetime) -> bool:
    """DONE to CONVERT: convert the stored file again. Status and refund of the job stand."""
    moved = _move(
        as_claimed(job),
        [Stage.DONE],
        Stage.CONVERT,
        due_at=now,
        deadline_at=now + timedelta(seconds=settings.JOB_STORE_DEADLINE_SECONDS),
        tries=0,
        lost_leases=0,
    )
    if moved:
        CONVERT_VIDEOS.wake_workers(queue=job.queue)
    return moved


def to_done(job: Job) -> None:
    """Any stage to DONE, for a job that the caller has locked: saves its result as well."""
    job.stage = Stage.DONE
    job.due_at = job.leased_until = job.deadline_at = job.queue_position = None
    job.save(
        update_fields=[
            "status", "stage", "progress", "due_at", "leased_until", "deadline_at",
            "queue_position", "media_name", "thumbnail_name", "original_name", "images",
            "error_code",
            "refund_entry", "fee_kept", "loss_usd", "completed_at",
        ]
    )  # fmt: skip
    user_changes.announce_on_commit(job.user_id)


def _announce(job: Job, *, has_changed: bool) -> bool:
    """Announce a change on commit. Returns `has_changed`."""
    if has_changed:
        user_changes.announce_on_commit(job.user_id)
    return has_changed


def _move(rows: QuerySet[Job], start: Collection[Stage], stage: Stage, **changes: Any) -> bool:
    return rows.filter(stage__in=start).update(stage=stage, **changes) == 1
