"""Actions on the service itself: circuit breakers, maintenance, dead letters."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from adminops.actions import approvals
from adminops.actions.approvals import (
    ActionHandler,
    ActionRequest,
    ActionResult,
    CreditImpact,
    perform_or_request_approval,
)
from adminops.actions.audit import StaffAction, log_action
from adminops.actions.jobs import delivery_impact, refetch_impact
from adminops.models import AdminAction, PendingApproval
from generation import services as generation_services
from generation.dispatch import circuit_breaker
from generation.lifecycle import dead_letters, manual
from generation.models import (
    MAINTENANCE_ID,
    DeadKind,
    DeadLetter,
    DeadState,
    Job,
    ProviderHealth,
)
from rendio.common.errors import InvalidState, NotFound
from rendio.common.times import iso


def reset_provider(staff_action: StaffAction, *, health_id: UUID) -> None:
    """Close the circuit breaker of a provider's key. Raises Forbidden, InvalidInput, NotFound."""
    with log_action(AdminAction.RESET_PROVIDER, staff_action, subject_id=health_id) as log:
        health = ProviderHealth.objects.select_for_update().filter(id=health_id).first()
        if health is None:
            raise NotFound
        log.before = _as_json(health)
        circuit_breaker.close(health, now=staff_action.now)
        log.after = _as_json(health)


def _as_json(health: ProviderHealth) -> dict[str, Any]:
    return {
        "key": f"{health.provider} {health.key_label}",
        "state": health.state,
        "failures": health.failures,
        "open_until": iso(health.open_until),
        "paused_until": iso(health.paused_until),
    }


def switch_maintenance(staff_action: StaffAction, *, is_on: bool) -> None:
    """Stop or resume new orders; jobs in progress continue. Raises Forbidden, InvalidInput."""
    with log_action(AdminAction.SWITCH_MAINTENANCE, staff_action, subject_id=MAINTENANCE_ID) as log:
        was_on = generation_services.switch_maintenance(
            is_on=is_on, reason=log.staff_action.reason, now=staff_action.now
        )
        log.before, log.after = {"is_on": was_on}, {"is_on": is_on}


def retry_dead_letter(staff_action: StaffAction, *, letter_id: UUID) -> PendingApproval | None:
    """Retry a task, job, result or delivery that failed permanently. Raises Forbidden,
    InvalidInput, NotFound, InvalidState."""
    result: PendingApproval | None = perform_or_request_approval(
        AdminAction.RETRY_DEAD_LETTER,
        staff_action,
        subject_id=letter_id,
    )
    return result


def dismiss_dead_letter(staff_action: StaffAction, *, letter_id: UUID) -> None:
    """Close a dead letter without a retry. Raises Forbidden, InvalidInput, NotFound,
    InvalidState."""
    with log_action(AdminAction.DISMISS_DEAD_LETTER, staff_action, subject_id=letter_id) as log:
        letter = _lock_open_letter(letter_id)
        log.before = _letter_as_json(letter)
        dead_letters.close(letter, DeadState.DISMISSED, now=staff_action.now)
        log.after = {"state": letter.state}


def _retry_impact(request: ActionRequest) -> CreditImpact:
    """The retry of a job that has ended, and was refunded, fetches its video."""
    letter = DeadLetter.objects.filter(id=request.subject).first()
    if letter is None:
        raise NotFound
    if letter.kind == DeadKind.DELIVERY:
        return delivery_impact(UUID(letter.subject))
    if (
        letter.kind in {DeadKind.JOB, DeadKind.RESULT}
        and Job.objects.filter(id=letter.subject).exists()
    ):
        return refetch_impact(manual.lock_job(UUID(letter.subject)))
    return CreditImpact()


def _retry(request: ActionRequest, staff_action: StaffAction) -> ActionResult:
    letter = _lock_open_letter(request.subject)
    before = _letter_as_json(letter)
    dead_letters.retry(letter, now=request.now)
    return ActionResult(letter.id, before, {"state": letter.state})


def _lock_open_letter(letter_id: UUID) -> DeadLetter:
    letter = DeadLetter.objects.select_for_update().filter(id=letter_id).first()
    if letter is None:
        raise NotFound
    if letter.state != DeadState.OPEN:
        raise InvalidState(problem=f"This dead letter is already {letter.state}.")
    return letter


def _letter_as_json(letter: DeadLetter) -> dict[str, Any]:
    return {"state": letter.state, "subject": str(letter), "times": letter.times}


approvals.register(
    AdminAction.RETRY_DEAD_LETTER,
    ActionHandler(
        _retry_impact,
        _retry,
        lambda approval: [("Credits of the job", approval.amount)],
    ),
)
