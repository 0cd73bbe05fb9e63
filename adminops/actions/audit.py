"""Staff actions: the actor and the reason, the permission, and the audit log entry.

A staff action is one transaction: the change, and an audit log entry with the actor, the reason,
and the state before and after. A form has a `form_id`, made when the form was rendered. A second
submission of the same form raises InvalidState and changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from django.contrib.auth.models import AnonymousUser
from django.db import transaction

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
from rendio.common.text.visible_text import has_visible

if TYPE_CHECKING:
    from adminops.actions.budgets import CreditImpact

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class StaffAction:
    """The actor, the reason and the time. `form_id` is the id of the submitted form, None for JSON
    calls."""

    actor: User
    reason: str
    now: datetime
    form_id: UUID | None = None


@dataclass
class AuditLogDraft:
    """The log entry of an action that is running. The block of log_action fills it in."""

    action: AdminAction
    staff_action: StaffAction
    subject_id: UUID | None = None
    subject_type: Subject | None = None  # None: the usual type for this action
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    impact: CreditImpact | None = None  # counts against the actor's budget


def has_permission(user: User | AnonymousUser, action: AdminAction) -> bool:
    return user.has_perm(f"adminops.{action.value}")


def authorize(
    action: AdminAction, staff_action: StaffAction, *, secrets: Collection[str] = ()
) -> StaffAction:
    """Check the permission and the reason. Raises Forbidden, InvalidInput.

    Returns the staff action with its reason as stored: promotion codes are masked, because not
    every reader of the log may see them. `secrets` are codes that do not exist yet.
    """
    if not has_permission(staff_action.actor, action):
        raise Forbidden
    reason = staff_action.reason.strip()
    if not has_visible(reason, least=REASON_MIN) or len(reason) > REASON_MAX:
        problem = f"Write a reason of {REASON_MIN} to {REASON_MAX} visible characters."
        raise InvalidInput(fields={"reason": [problem]})
    return replace(staff_action, reason=CodeMask.for_reason(reason, *secrets).mask(reason))


@contextmanager
def log_action(
    action: AdminAction,
    staff_action: StaffAction,
    *,
    subject_id: UUID | None = None,
    secrets: Collection[str] = (),
    durable: bool = True,
) -> Iterator[AuditLogDraft]:
    """Authorize an action, run the block, and write the audit log entry, in one transaction.

    The block makes the change and sets `before` and `after` of the draft. Opens the outermost
    transaction; with `durable=False` it joins the caller's. Raises as `authorize`, and InvalidState
    if the form was submitted before; the block's changes are then rolled back.
    """
    with transaction.atomic(durable=durable):
        draft = AuditLogDraft(action, authorize(action, staff_action, secrets=secrets), subject_id)
        yield draft
        _write_entry(draft)


def _write_entry(draft: AuditLogDraft) -> None:
    """Write the entry last, while the block still holds the lock on the subject: an earlier
    submission of the same form has committed by now."""
    staff_action, impact = draft.staff_action, draft.impact
    form_id = staff_action.form_id
    if form_id and AuditLogEntry.objects.filter(id=form_id).exists():
        raise InvalidState(problem="This form was already submitted, and the action is done.")
    assert draft.subject_id  # noqa: S101 (set by the caller or by the block)
    subject_type = draft.subject_type or SUBJECTS.get(draft.action, Subject.USER)
    AuditLogEntry.objects.create(
        id=form_id or uuid7(),
        at=staff_action.now,
        actor=staff_action.actor,
        action=draft.action,
        subject_type=subject_type,
        subject_id=draft.subject_id,
        reason=staff_action.reason,
        before=draft.before,
        after=draft.after,
        request_id=request_id.current() or "",
        credits=impact.credits if impact and impact.credits else None,
        customer_id=impact.customer_id if impact else None,
        max_per_customer=impact.max_per_customer if impact and impact.max_per_customer else None,
    )
    logger.info(
        "support_action",
        action=draft.action.value,
        subject_type=subject_type.value,
        subject_id=str(draft.subject_id),
        actor_id=str(staff_action.actor.id),
    )
