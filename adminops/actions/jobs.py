"""Refund, fail or retry a job, and reprocess a webhook delivery.

The credits that an action gives away count against the budget of the actor
(adminops.actions.budgets): for a refund the credits given back; for a video that is fetched for a
refunded job the credits that the job had cost.
"""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from adminops.actions import approvals
from adminops.actions.approvals import (
    ActionHandler,
    ActionRequest,
    ActionResult,
    CreditImpact,
    perform_or_request_approval,
)
from adminops.actions.audit import StaffAction
from adminops.models import AdminAction, PendingApproval
from generation.lifecycle import dead_letters, manual
from generation.models import Job, JobStatus, ProviderRequest, WebhookDelivery
from rendio.common.errors import InvalidState, NotFound
from rendio.common.times import iso


def refund_job(staff_action: StaffAction, *, job_id: UUID) -> int | PendingApproval:
    """Refund a delivered job into the lots that paid for it; returns the credits. Raises Forbidden,
    InvalidInput, NotFound, InvalidState."""
    return cast(
        "int | PendingApproval",
        perform_or_request_approval(AdminAction.REFUND_JOB, staff_action, subject_id=job_id),
    )


def fail_job(staff_action: StaffAction, *, job_id: UUID) -> int | PendingApproval:
    """Fail and refund a job that has not ended; returns the credits. If its provider still delivers
    a video, the owner keeps it. Raises Forbidden, InvalidInput, NotFound, InvalidState."""
    return cast(
        "int | PendingApproval",
        perform_or_request_approval(AdminAction.FAIL_JOB, staff_action, subject_id=job_id),
    )


def retry_job(staff_action: StaffAction, *, job_id: UUID) -> int | PendingApproval:
    """Make a job due now, or fetch the video of a job that ended without one; returns the job's
    credits. Raises Forbidden, InvalidInput, NotFound, InvalidState."""
    return cast(
        "int | PendingApproval",
        perform_or_request_approval(AdminAction.RETRY_JOB, staff_action, subject_id=job_id),
    )


def reprocess_delivery(staff_action: StaffAction, *, delivery_id: UUID) -> PendingApproval | None:
    """Process a provider's webhook again. Raises Forbidden, InvalidInput, NotFound."""
    return cast(
        "PendingApproval | None",
        perform_or_request_approval(
            AdminAction.REPROCESS_DELIVERY, staff_action, subject_id=delivery_id
        ),
    )


# --- Credit impact --------------------------------------------------------------------------------


def _refund_impact(request: ActionRequest) -> CreditImpact:
    job = manual.lock_job(request.subject)
    if job.refund_entry_id:
        raise InvalidState(problem="This job is already refunded.")
    if job.status != JobStatus.COMPLETED:
        raise InvalidState(problem="This job has not ended yet.")
    return CreditImpact(job.credits, job.user_id)


def _failure_impact(request: ActionRequest) -> CreditImpact:
    job = manual.lock_job(request.subject)
    if job.is_terminal:
        raise InvalidState(problem=f"This job has ended: it is {job.status}.")
    return CreditImpact(job.credits, job.user_id)


def _retry_impact(request: ActionRequest) -> CreditImpact:
    return refetch_impact(manual.lock_job(request.subject))


def refetch_impact(job: Job) -> CreditImpact:
    """The credit impact of fetching a job's result again.

    None while the job runs, because the owner has paid for it. A job that ended without a video was
    refunded, so a video fetched now is free for its owner.
    """
    is_free = job.is_terminal and not job.media_name
    return CreditImpact(job.credits_refunded, job.user_id) if is_free else CreditImpact()


def delivery_impact(delivery_id: UUID) -> CreditImpact:
    """The impact of processing a delivery again, found as the worker finds its job."""
    delivery = WebhookDelivery.objects.filter(id=delivery_id).first()
    if delivery is None:
        return CreditImpact()  # purged: `perform` raises NotFound
    submissions = ProviderRequest.objects.filter(provider=delivery.provider)
    if delivery.webhook_token:
        submissions = submissions.filter(webhook_token=delivery.webhook_token)
    else:
        submissions = submissions.filter(provider_request_id=delivery.provider_request_id)
    submission = submissions.select_related("job").first()
    return refetch_impact(submission.job) if submission else CreditImpact()


# --- Changes --------------------------------------------------------------------------------------


def _refund(request: ActionRequest, staff_action: StaffAction) -> ActionResult:
    before = manual.lock_job(request.subject)
    after = manual.refund_job(
        request.subject, acting_user_id=staff_action.actor.id, now=request.now
    )
    return _result(before, after)


def _fail(request: ActionRequest, staff_action: StaffAction) -> ActionResult:
    before = manual.lock_job(request.subject)
    return _result(before, manual.fail_job(request.subject, now=request.now))


def _retry(request: ActionRequest, staff_action: StaffAction) -> ActionResult:
    before = manual.lock_job(request.subject)
    return _result(before, manual.retry_job(request.subject, now=request.now))


def _result(before: Job, after: Job) -> ActionResult:
    return ActionResult(after.id, _as_json(before), _as_json(after), after.credits_refunded)


def _as_json(job: Job) -> dict[str, Any]:
    return {
        "status": job.status,
        "stage": job.stage,
        "due_at": iso(job.due_at),
        "refund": str(job.refund_entry_id) if job.refund_entry_id else None,
    }


def _reprocess_delivery(request: ActionRequest, staff_action: StaffAction) -> ActionResult:
    delivery = WebhookDelivery.objects.select_for_update().filter(id=request.subject).first()
    if delivery is None:
        raise NotFound
    before = {"processed_at": iso(delivery.processed_at), "outcome": delivery.outcome}
    dead_letters.reprocess_delivery(delivery.id)
    return ActionResult(delivery.id, before, {"processed_at": None, "outcome": ""})


def _details(approval: PendingApproval) -> list[tuple[str, Any]]:
    return [("Credits of the job", approval.amount)]


approvals.register(AdminAction.REFUND_JOB, ActionHandler(_refund_impact, _refund, _details))
approvals.register(AdminAction.FAIL_JOB, ActionHandler(_failure_impact, _fail, _details))
approvals.register(AdminAction.RETRY_JOB, ActionHandler(_retry_impact, _retry, _details))
approvals.register(
    AdminAction.REPROCESS_DELIVERY,
    ActionHandler(lambda request: delivery_impact(request.subject), _reprocess_delivery, _details),
)
