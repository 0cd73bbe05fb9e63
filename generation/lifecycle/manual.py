"""What a person does to a job or a delivery. All of it joins the caller's transaction, which keeps
the record of who did it; the wallet is locked before the job, as everywhere."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from accounts.models import PushKind
from credits import services as credit_services
from generation.due_work import wake_workers_for
from generation.lifecycle import dead_letters, notifications, settle
from generation.models import Job, Stage
from rendio.common.errors import InvalidState, NotFound


def fail_job(job_id: UUID, *, now: datetime, quietly: bool = False) -> Job:
    """Fail a job that goes on, with its credits back; its provider is asked to stop, and its user
    told, unless `quietly`. Raises NotFound, InvalidState."""
    job = lock_job(job_id)
    settle.fail_manually(job, now=now)
    if not quietly:
        notifications.notify_user(job, PushKind.JOB_FAILED, now=now)
    return job


def refund_job(job_id: UUID, *, acting_user_id: UUID, now: datetime) -> Job:
    """Give back what a delivered job cost. Raises NotFound, InvalidState."""
    job = lock_job(job_id)
    settle.refund_completed(job, acting_user_id=acting_user_id, now=now)
    return job


def retry_job(job_id: UUID, *, now: datetime) -> Job:
    """Look at a job at once that goes on, or fetch the video of one that ended without it, which
    its refund outlives. Raises NotFound, InvalidState."""
    job = lock_job(job_id)
    if job.stage == Stage.DONE:
        dead_letters.refetch_result(job_id, now=now)
    elif job.leased_until and job.leased_until > now:
        raise InvalidState(problem="A worker has this job in hand.")
    else:
        job.due_at, job.tries = now, 0
        job.save(update_fields=["due_at", "tries"])
        wake_workers_for(job)
    job.refresh_from_db()
    return job


def lock_job(job_id: UUID) -> Job:
    """The job, with its user's wallet locked before it. Raises NotFound."""
    found = Job.objects.filter(id=job_id).only("user_id").first()
    if found is None:
        raise NotFound
    credit_services.lock_wallet(user_id=found.user_id, through_merge=True)
    return Job.objects.select_for_update(of=("self",)).get(id=job_id)
