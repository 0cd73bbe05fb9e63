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
