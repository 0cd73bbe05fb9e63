"""Acts upon what was bought (adminops.actions.audit has what all acts share). What they bring, or
have Apple pay back, counts against the budget of who acts (adminops.actions.budgets)."""

from __future__ import annotations

from typing import Any, Unpack
from uuid import UUID

from django.conf import settings
from django.db import transaction

from adminops.actions import approvals
from adminops.actions.approvals import Effect, Intent, Kind, Stake, carry_out
from adminops.actions.audit import Who, admitted, record_act
from adminops.models import AdminAction, PendingApproval
from billing import services as billing_services
from billing.models import (
    NEEDS_REVIEW,
    ConsumptionRequest,
    Notification,
    PendingReason,
    Purchase,
    RefundPolicy,
)
from rendio.common.errors import InvalidState, NotFound
from rendio.common.times import iso


@transaction.atomic(durable=True)
def assign_purchase(
    *, purchase_id: UUID, user_id: UUID, **who: Unpack[Who]
) -> int | PendingApproval:
    """Give a purchase that waits for its owner to this user; returns the credits that it brought.

    Raises Forbidden, InvalidInput, NotFound, InvalidState.
    """
    came: int | PendingApproval = carry_out(
        AdminAction.ASSIGN_PURCHASE,
        admitted(AdminAction.ASSIGN_PURCHASE, who),
        subject_id=purchase_id,
        arguments={"user_id": str(user_id)},
    )
    return came


@transaction.atomic(durable=True)
def release_purchase(*, purchase_id: UUID, **who: Unpack[Who]) -> int | PendingApproval:
    """Let through a purchase that is held back because of fraud marks; returns its credits.

    Raises Forbidden, InvalidInput, NotFound, InvalidState.
    """
    came: int | PendingApproval = carry_out(
        AdminAction.RELEASE_PURCHASE,
        admitted(AdminAction.RELEASE_PURCHASE, who),
        subject_id=purchase_id,
    )
    return came


@transaction.atomic(durable=True)
def reapply_purchase(*, purchase_id: UUID, **who: Unpack[Who]) -> Purchase | PendingApproval:
    """Make the ledger agree with a purchase once more, by what is sold and who is there today.
    Raises Forbidden, InvalidInput, NotFound."""
    came: Purchase | PendingApproval = carry_out(
        AdminAction.REAPPLY_PURCHASE,
        admitted(AdminAction.REAPPLY_PURCHASE, who),
        subject_id=purchase_id,
    )
    return came


@transaction.atomic(durable=True)
def reapply_notification(*, notification_id: UUID, **who: Unpack[Who]) -> PendingApproval | None:
    """Have a notification of Apple's applied once more. Raises Forbidden, InvalidInput, NotFound,
    InvalidState."""
    came: PendingApproval | None = carry_out(
        AdminAction.REAPPLY_NOTIFICATION,
        admitted(AdminAction.REAPPLY_NOTIFICATION, who),
        subject_id=notification_id,
    )
    return came


@transaction.atomic(durable=True)
def override_refund_policy(
    *, request_id: UUID, policy: RefundPolicy, **who: Unpack[Who]
) -> PendingApproval | None:
    """Have Apple told by another policy what we would like it to decide about one refund.

    Raises Forbidden, InvalidInput, NotFound, InvalidState once Apple waits no more.
    """
    who = admitted(AdminAction.OVERRIDE_REFUND, who)
    request = ConsumptionRequest.objects.filter(id=request_id).first()
    if request is None:
        raise NotFound
    came: PendingApproval | None = carry_out(
        AdminAction.OVERRIDE_REFUND,
        who,
        subject_id=request.purchase_id,
        arguments={"request": str(request_id), "policy": policy.value},
    )
    return came


# --- What they move -------------------------------------------------------------------------------


def _stake_of_assignment(intent: Intent) -> Stake:
    purchase = _find(intent)
    if purchase.pending_reason not in {PendingReason.NO_OWNER, PendingReason.ACCOUNT_CLOSED}:
        raise InvalidState(problem="This purchase does not wait for somebody.")
    user_id = UUID(intent.arguments["user_id"])
    owner = billing_services.lock_owner(user_id)
    if owner is None:
        raise NotFound
    if owner.closed_at:
        raise InvalidState(problem="This account is closed: nobody could spend the credits.")
    # Each renewal brings its credits to the same user, and nobody counts them.
    has_renewals = settings.SUPPORT_GRANT_LIMIT and billing_services.is_period(purchase)
    return Stake(
        billing_services.expected_credits(purchase),
        owner.id,
        second_person="Its renewals follow it." if has_renewals else "",
    )


def _stake_of_release(intent: Intent) -> Stake:
    purchase = _find(intent)
    if purchase.pending_reason not in NEEDS_REVIEW:
        raise InvalidState(problem="This purchase is not held back.")
    return Stake(billing_services.expected_credits(purchase), _locked_owner(purchase))


def _stake_of_settling(intent: Intent) -> Stake:
    """What was granted is not granted twice, and what is held back stays so."""
    return _stake_of_purchase(_find(intent))


def _stake_of_purchase(purchase: Purchase) -> Stake:
    owner_id = _locked_owner(purchase)
    if purchase.granted_at or purchase.pending_reason in NEEDS_REVIEW:
        return Stake()
    return Stake(billing_services.expected_credits(purchase), owner_id)


def _stake_of_notification(intent: Intent) -> Stake:
    """What the purchase that it names brings when it is settled."""
    notification = Notification.objects.filter(id=intent.subject).first()
    if notification is None:
        raise NotFound
    if not notification.transaction_id:
        return Stake()
    purchase = Purchase.objects.filter(
        environment=notification.environment, transaction_id=notification.transaction_id
    ).first()
    if purchase:
        return _stake_of_purchase(purchase)
    # Its purchase was not recorded when it was applied, so nothing here says what it brings.
    is_limited = settings.SUPPORT_GRANT_LIMIT
    return Stake(second_person="The purchase that it names is unknown." if is_limited else "")


def _stake_of_override(intent: Intent) -> Stake:
    """What Apple would pay back because of it, as the credits that were bought with it: nothing,
    where we ask for nothing, and where we would have asked for the same without it."""
    policy = RefundPolicy(intent.arguments["policy"])
    purchase = _find(intent)
    if policy in {RefundPolicy.NONE, RefundPolicy.DECLINE, settings.CONSUMPTION_POLICY}:
        return Stake()
    return Stake(billing_services.expected_credits(purchase), _locked_owner(purchase))


def _find(intent: Intent) -> Purchase:
    purchase = Purchase.objects.filter(id=intent.subject).first()
    if purchase is None:
        raise NotFound
    return purchase


def _locked_owner(purchase: Purchase) -> UUID | None:
    owner = billing_services.lock_expected_owner(purchase)
    return owner.id if owner else None


# --- How they are done ----------------------------------------------------------------------------


def _assign(intent: Intent, who: Who) -> Effect:
    user_id = UUID(intent.arguments["user_id"])
    purchase = billing_services.assign_purchase(
        purchase_id=intent.subject, user_id=user_id, now=intent.now
    )
    after = {"user": str(purchase.user_id), "credits": purchase.credits}
    brought = purchase.credits or 0
    return Effect(purchase.id, {"user": None}, after, brought, moved=brought)


def _release(intent: Intent, who: Who) -> Effect:
    purchase = billing_services.release_purchase(purchase_id=intent.subject, now=intent.now)
    after = {"held": False, "credits": purchase.credits}
    brought = purchase.credits or 0
    return Effect(purchase.id, {"held": True}, after, brought, moved=brought)


def _reapply(intent: Intent, who: Who) -> Effect:
    found = _find(intent)
    purchase = billing_services.sync_ledger(found.id, now=intent.now).purchase
    return Effect(found.id, _standing(found), _standing(purchase), purchase)


def _reapply_notification(intent: Intent, who: Who) -> Effect:
    notification = billing_services.reprocess_notification(intent.subject, now=intent.now)
    before, after = {"outcome": notification.outcome}, {"due_at": iso(notification.due_at)}
    return Effect(notification.id, before, after)


def _standing(purchase: Purchase) -> dict[str, Any]:
    return {
        "problem": purchase.pending_reason,
        "credits": purchase.credits,
        "taken_share": purchase.clawed_back_share,
    }


def _override(intent: Intent, who: Who) -> Effect:
    policy = RefundPolicy(intent.arguments["policy"])
    before, request = billing_services.override_refund_policy(
        request_id=UUID(intent.arguments["request"]), policy=policy, now=intent.now
    )
    return Effect(request.purchase_id, {"policy": before or None}, {"policy": policy.value})


def _details(approval: PendingApproval) -> list[tuple[str, Any]]:
    return [("Credits of the purchase", approval.amount)]


approvals.register(AdminAction.ASSIGN_PURCHASE, Kind(_stake_of_assignment, _assign, _details))
approvals.register(AdminAction.RELEASE_PURCHASE, Kind(_stake_of_release, _release, _details))
approvals.register(AdminAction.REAPPLY_PURCHASE, Kind(_stake_of_settling, _reapply, _details))
approvals.register(
    AdminAction.REAPPLY_NOTIFICATION, Kind(_stake_of_notification, _reapply_notification, _details)
)
approvals.register(
    AdminAction.OVERRIDE_REFUND,
    Kind(
        _stake_of_override,
        _override,
        lambda approval: [
            ("What Apple is told", approval.arguments["policy"]),
            *_details(approval),
        ],
    ),
)


@transaction.atomic(durable=True)
def dismiss_payload(*, payload_id: UUID, **who: Unpack[Who]) -> None:
    """Close a payload of Apple's that could not be read, because a person has dealt with it. Raises
    Forbidden, InvalidInput, NotFound, InvalidState."""
    who = admitted(AdminAction.DISMISS_PAYLOAD, who)
    payload = billing_services.dismiss_payload(payload_id, now=who["now"])
    record_act(
        AdminAction.DISMISS_PAYLOAD,
        who,
        subject_id=payload_id,
        before={"problem": payload.problem},
        after={"closed": True},
    )
