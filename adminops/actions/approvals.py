"""Actions that move credits or money, and the approval of large ones by a second person.

Each such action has a handler, registered by its AdminAction. The handler says which credits the
action moves (`impact`) and makes the change (`perform`), from a subject and arguments that JSON can
hold. Within the actor's budgets (adminops.actions.budgets) the change is made at once. Beyond them
the request is stored as a PendingApproval; the same handler performs it once a second person has
approved it, against the state of the database at that time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q

from adminops.actions import budgets
from adminops.actions.audit import AuditLogDraft, StaffAction, log_action
from adminops.actions.budgets import BUDGET_WINDOW, CreditImpact
from adminops.models import SUBJECTS, AdminAction, ApprovalState, PendingApproval, Subject
from credits import queries as credit_queries
from rendio.common.errors import InvalidState, NotFound

__all__ = [
    "ActionHandler",
    "ActionRequest",
    "ActionResult",
    "CreditImpact",
    "approve",
    "decline",
    "details",
    "perform_or_request_approval",
]


@dataclass(frozen=True)
class ActionRequest:
    """What to do. `subject_id` is None if the action creates its subject."""

    subject_id: UUID | None
    arguments: dict[str, Any]
    now: datetime

    @property
    def subject(self) -> UUID:
        assert self.subject_id  # noqa: S101 (only for actions on an existing row)
        return self.subject_id


@dataclass(frozen=True)
class ActionResult:
    """The result of an action, for the audit log. `value` is returned to the caller."""

    subject_id: UUID
    before: dict[str, Any]
    after: dict[str, Any]
    value: Any = None
    credits_moved: int = 0  # if they are known only after the change


@dataclass(frozen=True)
class ActionHandler:
    """The credit impact of an action, and the change itself. Both functions join the caller's
    transaction, lock the rows they read, and raise the action's refusals."""

    impact: Callable[[ActionRequest], CreditImpact]
    perform: Callable[[ActionRequest, StaffAction], ActionResult]
    # (name, value) of each argument, shown to the second person.
    details: Callable[[PendingApproval], list[tuple[str, Any]]] = field(
        default=lambda approval: list(approval.arguments.items())
    )


_handlers: dict[AdminAction, ActionHandler] = {}


def register(action: AdminAction, handler: ActionHandler) -> None:
    _handlers[action] = handler


def registered_actions() -> frozenset[AdminAction]:
    return frozenset(_handlers)


def perform_or_request_approval(
    action: AdminAction,
    staff_action: StaffAction,
    *,
    subject_id: UUID | None = None,
    arguments: dict[str, Any] | None = None,
    secrets: Collection[str] = (),
    durable: bool = True,
) -> Any:
    """Perform the action, or store it for approval, in a logged transaction (log_action).

    Returns the value of the handler's result, or the PendingApproval. Raises Forbidden,
    InvalidInput, InvalidState, and the handler's errors.
    """
    with log_action(action, staff_action, secrets=secrets, durable=durable) as log:
        handler = _handlers[action]
        request = ActionRequest(subject_id, arguments or {}, staff_action.now)
        budgets.lock_actor(staff_action.actor)
        impact = handler.impact(request)
        if reason := budgets.approval_reason(impact, staff_action):
            return _request_approval(log, request, impact, reason)
        return _perform(handler, request, impact, log).value


def _perform(
    handler: ActionHandler, request: ActionRequest, impact: CreditImpact, log: AuditLogDraft
) -> ActionResult:
    result = handler.perform(request, log.staff_action)
    if result.credits_moved > abs(impact.credits):
        raise InvalidState(problem="The subject changed at this moment. Try again.")
    log.subject_id, log.before, log.after = result.subject_id, result.before, result.after
    log.impact = impact
    return result


def _request_approval(
    log: AuditLogDraft, request: ActionRequest, impact: CreditImpact, approval_reason: str
) -> PendingApproval:
    staff_action = log.staff_action
    approval = PendingApproval.objects.create(
        action=log.action,
        user_id=impact.customer_id,
        subject_id=request.subject_id,
        arguments=request.arguments,
        amount=min(abs(impact.credits), budgets.UNLIMITED),
        approval_reason=approval_reason[:500],
        reason=staff_action.reason,
        requested_by=staff_action.actor,
        requested_at=staff_action.now,
    )
    log.action = AdminAction.REQUEST_APPROVAL
    _log_approval(log, approval)
    return approval


def approve(staff_action: StaffAction, *, approval_id: UUID) -> Any:
    """Perform a pending action as of now; returns the value of its result.

    Raises Forbidden, InvalidInput, NotFound, and the handler's errors. Raises InvalidState if
    the actor may not decide about it, or if the action would by now move more credits than
    requested.
    """
    with log_action(AdminAction.APPROVE, staff_action) as log:
        budgets.lock_actor(staff_action.actor)
        approval = _close(approval_id, ApprovalState.APPROVED, staff_action)
        action = AdminAction(approval.action)
        handler, request = _handlers[action], _stored_request(approval, staff_action.now)
        impact = handler.impact(request)
        if abs(impact.credits) > approval.amount:
            problem = (
                f"The action would now move {abs(impact.credits)} credits, not {approval.amount}."
            )
            raise InvalidState(problem=f"{problem} Decline the request and make a new one.")
        budgets.check_approval_budget(impact, staff_action)
        result = _perform(handler, request, impact, log)
        log.subject_type = SUBJECTS.get(action, Subject.USER)
        log.after = result.after | _approval_as_json(approval)
        if approval.subject_id is None:
            approval.subject_id = result.subject_id
            approval.save(update_fields=["subject_id"])
        return result.value


def decline(staff_action: StaffAction, *, approval_id: UUID) -> None:
    """Close a pending action without performing it. Raises Forbidden, InvalidInput, NotFound,
    InvalidState."""
    with log_action(AdminAction.APPROVE, staff_action) as log:
        approval = _close(approval_id, ApprovalState.DECLINED, staff_action)
        log.action = AdminAction.DECLINE
        _log_approval(log, approval)


def details(approval: PendingApproval) -> list[tuple[str, Any]]:
    """(name, value) of the action's effects, for the second person."""
    return _handlers[AdminAction(approval.action)].details(approval)


def count_pending() -> int:
    return PendingApproval.objects.filter(state=ApprovalState.WAITING).count()


def _close(approval_id: UUID, state: ApprovalState, staff_action: StaffAction) -> PendingApproval:
    approvals = PendingApproval.objects.select_for_update(of=("self",))
    approval = approvals.filter(id=approval_id).first()
    if approval is None:
        raise NotFound
    if approval.state != ApprovalState.WAITING:
        raise InvalidState(problem=f"This request is already {approval.state}.")
    if approval.requested_by_id == staff_action.actor.id:
        raise InvalidState(problem="You requested this action. A second person has to decide.")
    if state == ApprovalState.APPROVED:
        _check_independence(approval, staff_action)
    approval.state = state
    approval.decided_by, approval.decided_at = staff_action.actor, staff_action.now
    approval.save(update_fields=["state", "decided_by", "decided_at"])
    return approval


def _check_independence(approval: PendingApproval, staff_action: StaffAction) -> None:
    """Raises InvalidState if the approver has requested an action for the same customer or row
    within a day: two members of staff could request one each, and approve the other's."""
    same_subject = Q()
    if approval.user_id:
        same_subject |= Q(user_id__in=credit_queries.users_sharing_wallet(approval.user_id))
    if approval.subject_id:
        same_subject |= Q(subject_id=approval.subject_id)
    if not same_subject:
        return
    own_requests = PendingApproval.objects.filter(
        same_subject,
        requested_by=staff_action.actor,
        requested_at__gt=staff_action.now - BUDGET_WINDOW,
    )
    if own_requests.exists():
        raise InvalidState(
            problem="You have requested an action for the same customer or row within a day."
            " Another person has to decide."
        )


def _stored_request(approval: PendingApproval, now: datetime) -> ActionRequest:
    arguments, subject_id = approval.arguments, approval.subject_id
    if not arguments and approval.action in {
        AdminAction.REFUND_CREDITS,
        AdminAction.ADJUST_CREDITS,
    }:
        # Requested under a release that stored no arguments.
        arguments, subject_id = {"amount": approval.amount}, approval.user_id
    return ActionRequest(subject_id, arguments, now)


def _log_approval(log: AuditLogDraft, approval: PendingApproval) -> None:
    log.subject_type, log.subject_id = _audit_subject(approval)
    log.after = _approval_as_json(approval)


def _audit_subject(approval: PendingApproval) -> tuple[Subject, UUID]:
    if approval.subject_id:
        return SUBJECTS.get(AdminAction(approval.action), Subject.USER), approval.subject_id
    if approval.user_id:
        return Subject.USER, approval.user_id
    return Subject.APPROVAL, approval.id


def audit_subject_id(approval: PendingApproval) -> UUID:
    """The subject under which the audit log has the approval."""
    return _audit_subject(approval)[1]


def _approval_as_json(approval: PendingApproval) -> dict[str, Any]:
    return {
        "grant": str(approval.id),
        "act": approval.action,
        "amount": approval.amount,
        "requested_by": str(approval.requested_by_id),
        "state": approval.state,
    }
