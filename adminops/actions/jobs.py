"""Acts upon jobs and what their providers told of them (adminops.actions.audit has what all acts
share).

Each counts what it gives away against the budget of who acts (adminops.actions.budgets): a refund
the credits that come back, a video that is fetched for a job without a price the credits it had
cost.
"""

from __future__ import annotations

from typing import Any, Unpack, cast
from uuid import UUID

from django.db import transaction

from adminops.actions import approvals
from adminops.actions.approvals import Effect, Intent, Kind, Stake, carry_out
from adminops.actions.audit import Who, admitted
from adminops.models import AdminAction, PendingApproval
from generation.lifecycle import dead_letters, manual
from generation.models import Job, JobStatus, ProviderRequest, WebhookDelivery
from rendio.common.errors import InvalidState, NotFound
from rendio.common.times import iso


@transaction.atomic(durable=True)
def refund_job(*, job_id: UUID, **who: Unpack[Who]) -> int | PendingApproval:
    """Give back what a delivered job cost, into the lots that it came from; returns how many
    credits. Raises Forbidden, InvalidInput, NotFound, InvalidState."""
    return cast("int | PendingApproval", _upon(AdminAction.REFUND_JOB, job_id, who))


@transaction.atomic(durable=True)
def fail_job(*, job_id: UUID, **who: Unpack[Who]) -> int | PendingApproval:
    """End a job that goes on, with its credits back; returns how many. What its provider makes all
    the same is kept for its owner. Raises Forbidden, InvalidInput, NotFound, InvalidState."""
    return cast("int | PendingApproval", _upon(AdminAction.FAIL_JOB, job_id, who))


@transaction.atomic(durable=True)
def retry_job(*, job_id: UUID, **who: Unpack[Who]) -> int | PendingApproval:
    """Look at a job at once, or fetch the video of one that ended without it; returns its credits.
    Raises Forbidden, InvalidInput, NotFound, InvalidState."""
    return cast("int | PendingApproval", _upon(AdminAction.RETRY_JOB, job_id, who))


@transaction.atomic(durable=True)
def reapply_delivery(*, delivery_id: UUID, **who: Unpack[Who]) -> PendingApproval | None:
    """Have a provider's webhook applied once more. Raises Forbidden, InvalidInput, NotFound."""
    return cast("PendingApproval | None", _upon(AdminAction.REAPPLY_DELIVERY, delivery_id, who))


def _upon(action: AdminAction, subject_id: UUID, who: Who) -> Any:
    return carry_out(action, admitted(action, who), subject_id=subject_id)


# --- What they move -------------------------------------------------------------------------------


def _stake_of_refund(intent: Intent) -> Stake:
    job = manual.lock_job(intent.subject)
    if job.refund_entry_id:
        raise InvalidState(problem="The credits of this job are back already.")
    if job.status != JobStatus.COMPLETED:
        raise InvalidState(problem="This job has not ended yet.")
    return Stake(job.credits, job.user_id)


def _stake_of_failure(intent: Intent) -> Stake:
    job = manual.lock_job(intent.subject)
    if job.is_terminal:
        raise InvalidState(problem=f"This job has ended: it is {job.status}.")
    return Stake(job.credits, job.user_id)


def _stake_of_retry(intent: Intent) -> Stake:
    return stake_of_fetching(manual.lock_job(intent.subject))


def stake_of_fetching(job: Job) -> Stake:
    """A job that goes on has been paid for. One that has ended without its video was refunded: the
    video that is fetched for it costs its owner nothing."""
    is_free = job.is_terminal and not job.media_name
    return Stake(job.credits_refunded, job.user_id) if is_free else Stake()


def stake_of_delivery(delivery_id: UUID) -> Stake:
    delivery = WebhookDelivery.objects.filter(id=delivery_id).first()
    if delivery is None:
        return Stake()  # it has been swept away: `do` says so
    sent = ProviderRequest.objects.filter(provider=delivery.provider)
    # As its worker finds what it is about.
    if delivery.webhook_token:
        sent = sent.filter(webhook_token=delivery.webhook_token)
    else:
        sent = sent.filter(provider_request_id=delivery.provider_request_id)
    request = sent.select_related("job").first()
    return stake_of_fetching(request.job) if request else Stake()


# --- How they are done ----------------------------------------------------------------------------


def _refund(intent: Intent, who: Who) -> Effect:
    before = manual.lock_job(intent.subject)
    after = manual.refund_job(intent.subject, acting_user_id=who["acting_user"].id, now=intent.now)
    return _effect(before, after)


def _fail(intent: Intent, who: Who) -> Effect:
    before = manual.lock_job(intent.subject)
    return _effect(before, manual.fail_job(intent.subject, now=intent.now))


def _retry(intent: Intent, who: Who) -> Effect:
    before = manual.lock_job(intent.subject)
    return _effect(before, manual.retry_job(intent.subject, now=intent.now))


def _effect(before: Job, after: Job) -> Effect:
    return Effect(after.id, _standing(before), _standing(after), after.credits_refunded)


def _standing(job: Job) -> dict[str, Any]:
    return {
        "status": job.status,
        "stage": job.stage,
        "due_at": iso(job.due_at),
        "refund": str(job.refund_entry_id) if job.refund_entry_id else None,
    }


def _reapply(intent: Intent, who: Who) -> Effect:
    delivery = WebhookDelivery.objects.select_for_update().filter(id=intent.subject).first()
    if delivery is None:
        raise NotFound
    before = {"processed_at": iso(delivery.processed_at), "outcome": delivery.outcome}
    dead_letters.reprocess_delivery(delivery.id)
    return Effect(delivery.id, before, {"processed_at": None, "outcome": ""})


def _details(approval: PendingApproval) -> list[tuple[str, Any]]:
    return [("Credits of the job", approval.amount)]


approvals.register(AdminAction.REFUND_JOB, Kind(_stake_of_refund, _refund, _details))
approvals.register(AdminAction.FAIL_JOB, Kind(_stake_of_failure, _fail, _details))
approvals.register(AdminAction.RETRY_JOB, Kind(_stake_of_retry, _retry, _details))
approvals.register(
    AdminAction.REAPPLY_DELIVERY,
    Kind(lambda intent: stake_of_delivery(intent.subject), _reapply, _details),
)
