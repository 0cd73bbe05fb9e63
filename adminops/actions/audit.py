"""What every act of support begins with and ends with: who may do it and why, and the record.

An act is one transaction of its own: the effect, and the record of who did it, why, and what it was
before and after. It may bring an `act_id`, made when its form was shown: the same form sent twice
acts once, and the second is refused.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict
from uuid import UUID

import structlog
from django.contrib.auth.models import AnonymousUser

from accounts.models import User
from adminops.models import (
    REASON_MAX,
    REASON_MIN,
    SUBJECTS,
    AdminAction,
    AuditLogEntry,
    Subject,
)
from adminops.support.masking import CodeMask
from rendio.common.errors import Forbidden, InvalidInput, InvalidState
from rendio.common.ids import uuid7
from rendio.common.observability import request_id
from rendio.common.visible_text import has_visible

if TYPE_CHECKING:
    from adminops.actions.budgets import Stake

logger = structlog.get_logger(__name__)


class Who(TypedDict):
    """Who acts, why and when."""

    reason: str
    acting_user: User
    now: datetime
    act_id: NotRequired[UUID | None]


def may(user: User | AnonymousUser, action: AdminAction) -> bool:
    """Whether this member of staff may act so; a superuser may do everything."""
    return user.has_perm(f"adminops.{action.value}")


def admitted(action: AdminAction, who: Who, *, unspoken: Collection[str] = ()) -> Who:
    """`who`, with the reason as it is kept: without promotion codes, `unspoken` ones among them,
    as not all who read it may know them. Raises Forbidden, InvalidInput."""
    if not may(who["acting_user"], action):
        raise Forbidden
    reason = who["reason"].strip()
    if not has_visible(reason, least=REASON_MIN) or len(reason) > REASON_MAX:
        problem = f"Write a reason of {REASON_MIN} to {REASON_MAX} visible characters."
        raise InvalidInput(fields={"reason": [problem]})
    return {**who, "reason": CodeMask.for_reason(reason, *unspoken).mask(reason)}


def record_act(
    action: AdminAction,
    who: Who,
    *,
    subject_id: UUID,
    before: dict[str, Any],
    after: dict[str, Any],
    subject_type: Subject | None = None,
    stake: Stake | None = None,
) -> None:
    """Write the record; a refusal here takes the effect back too.

    Last, while the subject is locked: an earlier run of the same act has committed by now.
    `stake` is what counts against the budget of who acts.
    """
    act_id = who.get("act_id")
    if act_id and AuditLogEntry.objects.filter(id=act_id).exists():
        raise InvalidState(problem="This form was sent before, and it has been done.")
    subject_type = subject_type or SUBJECTS.get(action, Subject.USER)
    AuditLogEntry.objects.create(
        id=act_id or uuid7(),
        at=who["now"],
        actor=who["acting_user"],
        action=action,
        subject_type=subject_type,
        subject_id=subject_id,
        reason=who["reason"],
        before=before,
        after=after,
        request_id=request_id.current() or "",
        credits=stake.credits if stake and stake.credits else None,
        customer_id=stake.customer_id if stake else None,
        max_per_customer=stake.max_per_customer if stake and stake.max_per_customer else None,
    )
    logger.info(
        "support_action",
        action=action.value,
        subject_type=subject_type.value,
        subject_id=str(subject_id),
        actor_id=str(who["acting_user"].id),
    )
