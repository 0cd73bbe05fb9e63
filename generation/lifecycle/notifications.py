"""Pushes about the end of a job: one statement in the transaction that ends the job."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from accounts.models import PushKind
from accounts.push import outbox
from generation.models import Job

IMAGES = "medium"
OF_A_TRAINING = {
    PushKind.JOB_COMPLETED: PushKind.MODEL_COMPLETED,
    PushKind.JOB_FAILED: PushKind.MODEL_FAILED,
    PushKind.JOB_LATE: PushKind.MODEL_LATE,
}


def notify_user(job: Job, kind: PushKind, *, now: datetime, subject_id: UUID | None = None) -> bool:
    """Like outbox.enqueue. For a deleted job, only a push about returned credits is sent."""
    if job.deleted_at and kind != PushKind.CREDITS_RETURNED:
        return False
    return outbox.enqueue(
        user_id=job.user_id,
        kind=OF_A_TRAINING.get(kind, kind) if job.is_training else kind,
        subject_id=subject_id,
        job_id=job.id,
        credits=job.credits - job.fee_kept,
        is_image=job.queue == IMAGES,
        now=now,
    )
