"""Acts upon jobs and what their providers told of them (adminops.acting has what all acts
share)."""

from __future__ import annotations

from typing import Any, Unpack
from uuid import UUID

from django.db import transaction

from adminops.acting import Who, admitted, record_act
from adminops.errors import NotFound
from adminops.models import Action
from generation.lifecycle import dead, hand
from generation.models import Job, WebhookDelivery
from rendio.common.times import iso


@transaction.atomic(durable=True)
def refund_job(*, job_id: UUID, **who: Unpack[Who]) -> int:
    """Give back what a delivered job cost, into the lots that it came from; returns how many
    credits. Raises Forbidden, InvalidInput, NotFound, InvalidState."""
    who = admitted(Action.REFUND_JOB, who)
    before = hand.lock(job_id)
    job = hand.refund(job_id, acting_user_id=who["acting_user"].id, now=who["now"])
    _record(Action.REFUND_JOB, who, before, job)
    return job.credits


@transaction.atomic(durable=True)
def fail_job(*, job_id: UUID, **who: Unpack[Who]) -> int:
    """End a job that goes on, with its credits back; returns how many. What its provider makes all
    the same is kept for its owner. Raises Forbidden, InvalidInput, NotFound, InvalidState."""
    who = admitted(Action.FAIL_JOB, who)
    before = hand.lock(job_id)
    job = hand.end(job_id, now=who["now"])
    _record(Action.FAIL_JOB, who, before, job)
    return job.credits


@transaction.atomic(durable=True)
def retry_job(*, job_id: UUID, **who: Unpack[Who]) -> None:
    """Look at a job at once, or fetch the video of one that ended without it. Raises Forbidden,
    InvalidInput, NotFound, InvalidState."""
    who = admitted(Action.RETRY_JOB, who)
    before = hand.lock(job_id)
    _record(Action.RETRY_JOB, who, before, hand.try_again(job_id, now=who["now"]))


def _record(action: Action, who: Who, before: Job, after: Job) -> None:
    record_act(action, who, subject_id=after.id, before=_standing(before), after=_standing(after))


def _standing(job: Job) -> dict[str, Any]:
    return {
        "status": job.status,
        "stage": job.stage,
        "due_at": iso(job.due_at),
        "refund": str(job.refund_entry_id) if job.refund_entry_id else None,
    }


@transaction.atomic(durable=True)
def reapply_delivery(*, delivery_id: UUID, **who: Unpack[Who]) -> None:
    """Have a provider's webhook applied once more. Raises Forbidden, InvalidInput, NotFound."""
    who = admitted(Action.REAPPLY_DELIVERY, who)
    delivery = WebhookDelivery.objects.select_for_update().filter(id=delivery_id).first()
    if delivery is None:
        raise NotFound
    before = {"processed_at": iso(delivery.processed_at), "outcome": delivery.outcome}
    dead.apply_again(delivery_id)
    record_act(
        Action.REAPPLY_DELIVERY,
        who,
        subject_id=delivery_id,
        before=before,
        after={"processed_at": None, "outcome": ""},
    )
