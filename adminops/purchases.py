"""Acts upon what was bought. Each is one transaction of its own: the effect, and the record of who
did it, why, and what it was before and after (adminops.acting)."""

from __future__ import annotations

from typing import Any, Unpack
from uuid import UUID

from django.db import transaction

from adminops.acting import Who, admitted, record_act
from adminops.errors import NotFound
from adminops.models import Action
from billing import services as billing_services
from billing.models import Purchase, RefundPolicy
from rendio.common.times import iso


@transaction.atomic(durable=True)
def assign_purchase(*, purchase_id: UUID, user_id: UUID, **who: Unpack[Who]) -> int:
    """Give a purchase that waits for its owner to this user; returns the credits that it brought.

    Raises Forbidden, InvalidInput, NotFound, InvalidState.
    """
    who = admitted(Action.ASSIGN_PURCHASE, who)
    purchase = billing_services.assign_purchase(
        purchase_id=purchase_id, user_id=user_id, now=who["now"]
    )
    record_act(
        Action.ASSIGN_PURCHASE,
        who,
        subject_id=purchase_id,
        before={"user": None},
        after={"user": str(purchase.user_id), "credits": purchase.credits},
    )
    return purchase.credits or 0


@transaction.atomic(durable=True)
def override_refund_policy(*, request_id: UUID, policy: RefundPolicy, **who: Unpack[Who]) -> None:
    """Have Apple told by another policy what we would like it to decide about one refund.

    Raises Forbidden, InvalidInput, NotFound, InvalidState once Apple waits no more.
    """
    who = admitted(Action.OVERRIDE_REFUND, who)
    before, request = billing_services.override_refund_policy(
        request_id=request_id, policy=policy, now=who["now"]
    )
    record_act(
        Action.OVERRIDE_REFUND,
        who,
        subject_id=request.purchase_id,
        before={"policy": before or None},
        after={"policy": policy.value},
    )


@transaction.atomic(durable=True)
def release_purchase(*, purchase_id: UUID, **who: Unpack[Who]) -> int:
    """Let through a purchase that is held back because of fraud marks; returns its credits.

    Raises Forbidden, InvalidInput, NotFound, InvalidState.
    """
    who = admitted(Action.RELEASE_PURCHASE, who)
    purchase = billing_services.release_purchase(purchase_id=purchase_id, now=who["now"])
    record_act(
        Action.RELEASE_PURCHASE,
        who,
        subject_id=purchase_id,
        before={"held": True},
        after={"held": False, "credits": purchase.credits},
    )
    return purchase.credits or 0


@transaction.atomic(durable=True)
def reapply_purchase(*, purchase_id: UUID, **who: Unpack[Who]) -> Purchase:
    """Make the ledger agree with a purchase once more, by what is sold and who is there today.
    Raises Forbidden, InvalidInput, NotFound."""
    who = admitted(Action.REAPPLY_PURCHASE, who)
    found = Purchase.objects.filter(id=purchase_id).first()
    if found is None:
        raise NotFound
    purchase = billing_services.settle(purchase_id, now=who["now"]).purchase
    record_act(
        Action.REAPPLY_PURCHASE,
        who,
        subject_id=purchase_id,
        before=_standing(found),
        after=_standing(purchase),
    )
    return purchase


def _standing(purchase: Purchase) -> dict[str, Any]:
    return {
        "problem": purchase.problem,
        "credits": purchase.credits,
        "taken_share": purchase.taken_share,
    }


@transaction.atomic(durable=True)
def reapply_notification(*, notification_id: UUID, **who: Unpack[Who]) -> None:
    """Have a notification of Apple's applied once more. Raises Forbidden, InvalidInput, NotFound,
    InvalidState."""
    who = admitted(Action.REAPPLY_NOTIFICATION, who)
    notice = billing_services.apply_again(notification_id, now=who["now"])
    record_act(
        Action.REAPPLY_NOTIFICATION,
        who,
        subject_id=notification_id,
        before={"outcome": notice.outcome},
        after={"due_at": iso(notice.due_at)},
    )


@transaction.atomic(durable=True)
def dismiss_payload(*, payload_id: UUID, **who: Unpack[Who]) -> None:
    """Close a payload of Apple's that could not be read, because a person has dealt with it. Raises
    Forbidden, InvalidInput, NotFound, InvalidState."""
    who = admitted(Action.DISMISS_PAYLOAD, who)
    payload = billing_services.dismiss_payload(payload_id, now=who["now"])
    record_act(
        Action.DISMISS_PAYLOAD,
        who,
        subject_id=payload_id,
        before={"problem": payload.problem},
        after={"closed": True},
    )
