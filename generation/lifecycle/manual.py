"""Staff's changes of a job. All join the caller's transaction, which writes the audit log.

Locks: wallet, then job.
"""

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
    """Fail and refund a job that has not ended, and cancel it at its provider.

    Notifies the user unless `quietly`. Raises NotFound, InvalidState.
    """
    job = lock_job(job_id)
    settle.fail_manually(job, now=now)
    if not quietly:
        notifications.notify_user(job, PushKind.JOB_FAILED, now=now)
    return job


def refund_job(job_id: UUID, *, acting_user_id: UUID, now: datetime) -> Job:
    """Refund a completed job. Raises NotFound, InvalidState."""
    job = lock_job(job_id)
    settle.refund_completed(job, acting_user_id=acting_user_id, now=now)
    return job


def retry_job(job_id: UUID, *, now: datetime) -> Job:
    """Make a job due now. For a job that ended without a video, fetch the video; the refund stands.

    Raises NotFound, InvalidState.
    """
    job = lock_job(job_id)
    if job.stage == Stage.DONE:
        dead_letters.refetch_result(job_id, now=now)
    elif job.leased_until and job.leased_until > now:
        raise InvalidState(problem="A worker is processing this job.")
    else:
        job.due_at, job.tries = now, 0
        job.save(update_fields=["due_at", "tries"])
        wake_workers_for(job)
    job.refresh_from_db()
    return job


def lock_job(job_id: UUID) -> Job:
    """Lock the user's wallet, then the job. Raises NotFound."""
    found = Job.objects.filter(id=job_id).only("user_id").first()
    if found is None:
        raise NotFound
    credit_services.lock_wallet(user_id=found.user_id, through_merge=True)
    return Job.objects.select_for_update(of=("self",)).get(id=job_id)
