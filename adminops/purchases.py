"""Acts upon what was bought. Each is one transaction of its own: the effect, and the record of who
did it, why, and what it was before and after (adminops.services)."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts.models import User
from adminops.models import Action
from adminops.services import checked_reason, record_act
from billing import services as billing_services
from billing.models import RefundPolicy


@transaction.atomic(durable=True)
def override_refund_policy(
    *,
    request_id: UUID,
    policy: RefundPolicy,
    reason: str,
    acting_user: User,
    now: datetime,
    act_id: UUID | None = None,
) -> None:
    """Have Apple told by another policy what we would like it to decide about one refund.

    Raises InvalidInput, NotFound, InvalidState once Apple waits no more.
    """
    reason = checked_reason(reason)
    before, request = billing_services.override_refund_policy(
        request_id=request_id, policy=policy, now=now
    )
    record_act(
        Action.OVERRIDE_REFUND,
        subject_id=request.purchase_id,
        reason=reason,
        acting_user=acting_user,
        now=now,
        act_id=act_id,
        before={"policy": before or None},
        after={"policy": policy.value},
    )


@transaction.atomic(durable=True)
def release_purchase(
    *, purchase_id: UUID, reason: str, acting_user: User, now: datetime, act_id: UUID | None = None
) -> int:
    """Let through a purchase that is held back because of fraud marks; returns its credits.

    Raises InvalidInput, NotFound, InvalidState.
    """
    reason = checked_reason(reason)
    purchase = billing_services.release_purchase(purchase_id=purchase_id, now=now)
    record_act(
        Action.RELEASE_PURCHASE,
        subject_id=purchase_id,
        reason=reason,
        acting_user=acting_user,
        now=now,
        act_id=act_id,
        before={"held": True},
        after={"held": False, "credits": purchase.credits},
    )
    return purchase.credits or 0
