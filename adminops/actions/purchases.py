"""Actions on purchases and on Apple's notifications.

The credits that an action grants, or that Apple would refund because of it, count against the
budget of the actor (adminops.actions.budgets).
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings

from adminops.actions import approvals
from adminops.actions.approvals import (
    ActionHandler,
    ActionRequest,
    ActionResult,
    CreditImpact,
    perform_or_request_approval,
)
from adminops.actions.audit import StaffAction, authorize, log_action
from adminops.models import AdminAction, PendingApproval
from billing import services as billing_services
from billing.models import (
    NEEDS_REVIEW,
    ConsumptionRequest,
    Notification,
    Purchase,
    RefundPolicy,
)
from rendio.common.errors import NotFound
from rendio.common.times import iso


def assign_purchase(
    staff_action: StaffAction, *, purchase_id: UUID, user_id: UUID
) -> int | PendingApproval:
    """Assign a purchase without an owner to this user; returns the credits granted.

    Raises Forbidden, InvalidInput, NotFound, InvalidState.
    """
    result: int | PendingApproval = perform_or_request_approval(
        AdminAction.ASSIGN_PURCHASE,
        staff_action,
        subject_id=purchase_id,
        arguments={"user_id": str(user_id)},
    )
    return result


def release_purchase(staff_action: StaffAction, *, purchase_id: UUID) -> int | PendingApproval:
    """Grant the credits of a purchase that waits for a review; returns the credits.

    Raises Forbidden, InvalidInput, NotFound, InvalidState.
    """
    result: int | PendingApproval = perform_or_request_approval(
        AdminAction.RELEASE_PURCHASE,
        staff_action,
        subject_id=purchase_id,
    )
    return result


def reprocess_purchase(
    staff_action: StaffAction, *, purchase_id: UUID
) -> Purchase | PendingApproval:
    """Sync the ledger with a purchase again, by the products and users of today.

    Raises Forbidden, InvalidInput, NotFound.
    """
    result: Purchase | PendingApproval = perform_or_request_approval(
        AdminAction.REPROCESS_PURCHASE,
        staff_action,
        subject_id=purchase_id,
    )
    return result


def reprocess_notification(
    staff_action: StaffAction, *, notification_id: UUID
) -> PendingApproval | None:
    """Process a notification from Apple again. Raises Forbidden, InvalidInput, NotFound,
    InvalidState."""
    result: PendingApproval | None = perform_or_request_approval(
        AdminAction.REPROCESS_NOTIFICATION,
        staff_action,
        subject_id=notification_id,
    )
    return result


def override_refund_policy(
    staff_action: StaffAction, *, request_id: UUID, policy: RefundPolicy
) -> PendingApproval | None:
    """Answer Apple's request about one refund by another policy.

    Raises Forbidden, InvalidInput, NotFound, and InvalidState after Apple's deadline.
    """
    authorize(AdminAction.OVERRIDE_REFUND, staff_action)
    request = ConsumptionRequest.objects.filter(id=request_id).first()
    if request is None:
        raise NotFound
    result: PendingApproval | None = perform_or_request_approval(
        AdminAction.OVERRIDE_REFUND,
        staff_action,
        subject_id=request.purchase_id,
        arguments={"request": str(request_id), "policy": policy.value},
    )
    return result


# --- Credit impact --------------------------------------------------------------------------------


def _assignment_impact(request: ActionRequest) -> CreditImpact:
    purchase = _get_purchase(request)
    billing_services.require_ownerless(purchase)
    owner = billing_services.lock_new_owner(UUID(request.arguments["user_id"]))
    # Each renewal grants credits to the same user, and no budget counts them.
    has_renewals = settings.SUPPORT_GRANT_LIMIT and billing_services.is_period(purchase)
    return CreditImpact(
        billing_services.expected_credits(purchase),
        owner.id,
        approval_reason="Renewals will go to the same user." if has_renewals else "",
    )


def _release_impact(request: ActionRequest) -> CreditImpact:
    purchase = _get_purchase(request)
    billing_services.require_awaiting_review(purchase)
    return CreditImpact(billing_services.expected_credits(purchase), _lock_owner_id(purchase))


def _reprocess_impact(request: ActionRequest) -> CreditImpact:
    return _purchase_impact(_get_purchase(request))


def _purchase_impact(purchase: Purchase) -> CreditImpact:
    """No impact if the credits were granted already, or stay pending for a review."""
    owner_id = _lock_owner_id(purchase)
    if purchase.granted_at or purchase.pending_reason in NEEDS_REVIEW:
        return CreditImpact()
    return CreditImpact(billing_services.expected_credits(purchase), owner_id)


def _notification_impact(request: ActionRequest) -> CreditImpact:
    """The impact of the purchase that the notification names."""
    notification = Notification.objects.filter(id=request.subject).first()
    if notification is None:
        raise NotFound
    if not notification.transaction_id:
        return CreditImpact()
    purchase = Purchase.objects.filter(
        environment=notification.environment, transaction_id=notification.transaction_id
    ).first()
    if purchase:
        return _purchase_impact(purchase)
    # The purchase was not recorded when the notification was processed: its credits are unknown.
    is_limited = settings.SUPPORT_GRANT_LIMIT
    return CreditImpact(
        approval_reason="The purchase of the notification is unknown." if is_limited else ""
    )


def _override_impact(request: ActionRequest) -> CreditImpact:
    """The credits of the purchase, if the override could make Apple refund it: not if the policy
    asks for no refund, or equals the policy that applies anyway."""
    policy = RefundPolicy(request.arguments["policy"])
    purchase = _get_purchase(request)
    if policy in {RefundPolicy.NONE, RefundPolicy.DECLINE, settings.CONSUMPTION_POLICY}:
        return CreditImpact()
    return CreditImpact(billing_services.expected_credits(purchase), _lock_owner_id(purchase))


def _get_purchase(request: ActionRequest) -> Purchase:
    purchase = Purchase.objects.filter(id=request.subject).first()
    if purchase is None:
        raise NotFound
    return purchase


def _lock_owner_id(purchase: Purchase) -> UUID | None:
    owner = billing_services.lock_expected_owner(purchase)
    return owner.id if owner else None


# --- Changes --------------------------------------------------------------------------------------


def _assign(request: ActionRequest, staff_action: StaffAction) -> ActionResult:
    user_id = UUID(request.arguments["user_id"])
    purchase = billing_services.assign_purchase(
        purchase_id=request.subject, user_id=user_id, now=request.now
    )
    after = {"user": str(purchase.user_id), "credits": purchase.credits}
    credits = purchase.credits or 0
    return ActionResult(purchase.id, {"user": None}, after, credits, credits_moved=credits)


def _release(request: ActionRequest, staff_action: StaffAction) -> ActionResult:
    purchase = billing_services.release_purchase(purchase_id=request.subject, now=request.now)
    after = {"held": False, "credits": purchase.credits}
    credits = purchase.credits or 0
    return ActionResult(purchase.id, {"held": True}, after, credits, credits_moved=credits)


def _reprocess(request: ActionRequest, staff_action: StaffAction) -> ActionResult:
    before = _get_purchase(request)
    purchase = billing_services.sync_ledger(before.id, now=request.now).purchase
    return ActionResult(before.id, _as_json(before), _as_json(purchase), purchase)


def _reprocess_notification(request: ActionRequest, staff_action: StaffAction) -> ActionResult:
    notification = billing_services.reprocess_notification(request.subject, now=request.now)
    before, after = {"outcome": notification.outcome}, {"due_at": iso(notification.due_at)}
    return ActionResult(notification.id, before, after)


def _as_json(purchase: Purchase) -> dict[str, Any]:
    return {
        "problem": purchase.pending_reason,
        "credits": purchase.credits,
        "taken_share": purchase.clawed_back_share,
    }


def _override(request: ActionRequest, staff_action: StaffAction) -> ActionResult:
    policy = RefundPolicy(request.arguments["policy"])
    before, consumption_request = billing_services.override_refund_policy(
        request_id=UUID(request.arguments["request"]), policy=policy, now=request.now
    )
    return ActionResult(
        consumption_request.purchase_id, {"policy": before or None}, {"policy": policy.value}
    )


def _details(approval: PendingApproval) -> list[tuple[str, Any]]:
    return [("Credits of the purchase", approval.amount)]


approvals.register(
    AdminAction.ASSIGN_PURCHASE, ActionHandler(_assignment_impact, _assign, _details)
)
approvals.register(AdminAction.RELEASE_PURCHASE, ActionHandler(_release_impact, _release, _details))
approvals.register(
    AdminAction.REPROCESS_PURCHASE, ActionHandler(_reprocess_impact, _reprocess, _details)
)
approvals.register(
    AdminAction.REPROCESS_NOTIFICATION,
    ActionHandler(_notification_impact, _reprocess_notification, _details),
)
approvals.register(
    AdminAction.OVERRIDE_REFUND,
    ActionHandler(
        _override_impact,
        _override,
        lambda approval: [
            ("Answer to Apple", approval.arguments["policy"]),
            *_details(approval),
        ],
    ),
)


def dismiss_payload(staff_action: StaffAction, *, payload_id: UUID) -> None:
    """Close an unreadable payload from Apple that a person has dealt with. Raises Forbidden,
    InvalidInput, NotFound, InvalidState."""
    with log_action(AdminAction.DISMISS_PAYLOAD, staff_action, subject_id=payload_id) as log:
        payload = billing_services.dismiss_payload(payload_id, now=staff_action.now)
        log.before, log.after = {"problem": payload.problem}, {"closed": True}
