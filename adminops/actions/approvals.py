"""Acts that move credits or money, and the second person who decides about large ones.

An act names its kind, the row that it is about and its arguments, all of which JSON can hold. Its
kind says what it would move (`stake`) and does it (`do`). Within the budgets of who acts
(adminops.actions.budgets) it is done at once; beyond them it waits as a PendingApproval, and the
very same code does it once a second person has approved it, with the world as it is then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Unpack
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from adminops.actions import budgets
from adminops.actions.audit import Who, admitted, record_act
from adminops.actions.budgets import COUNTED_FOR, Stake
from adminops.models import SUBJECTS, AdminAction, ApprovalState, PendingApproval, Subject
from credits import queries as credit_queries
from rendio.common.errors import InvalidState, NotFound

__all__ = ["Effect", "Intent", "Kind", "Stake", "approve", "carry_out", "decline", "details"]


@dataclass(frozen=True)
class Intent:
    """What somebody wants done. `subject_id` is None where the act makes its subject."""

    subject_id: UUID | None
    arguments: dict[str, Any]
    now: datetime

    @property
    def subject(self) -> UUID:
        assert self.subject_id  # noqa: S101 (of kinds that act upon a row)
        return self.subject_id


@dataclass(frozen=True)
class Effect:
    """What has been done, for the record; `result` is for who called."""

    subject_id: UUID
    before: dict[str, Any]
    after: dict[str, Any]
    result: Any = None
    moved: int = 0  # credits, where that is known only now


@dataclass(frozen=True)
class Kind:
    """How acts of one kind are weighed and done. Both functions join the caller's transaction,
    lock what they look at, and raise the refusals of the act."""

    stake: Callable[[Intent], Stake]
    do: Callable[[Intent, Who], Effect]
    # What the second person reads: (name, value) for each argument.
    details: Callable[[PendingApproval], list[tuple[str, Any]]] = field(
        default=lambda approval: list(approval.arguments.items())
    )


_kinds: dict[AdminAction, Kind] = {}


def register(action: AdminAction, kind: Kind) -> None:
    _kinds[action] = kind


def kinds() -> frozenset[AdminAction]:
    """All acts that are weighed."""
    return frozenset(_kinds)


def carry_out(
    action: AdminAction,
    who: Who,
    *,
    subject_id: UUID | None = None,
    arguments: dict[str, Any] | None = None,
) -> Any:
    """Do it, or have it wait; returns the result of its kind, or the PendingApproval.

    Joins the caller's transaction; `who` has been admitted. Raises what the kind raises.
    """
    kind, intent = _kinds[action], Intent(subject_id, arguments or {}, who["now"])
    budgets.lock(who["acting_user"])
    stake = kind.stake(intent)
    if why := budgets.why_not_alone(stake, who):
        return _wait(action, intent, stake, why, who)
    effect = _do(kind, intent, stake, who)
    record_act(
        action,
        who,
        subject_id=effect.subject_id,
        before=effect.before,
        after=effect.after,
        stake=stake,
    )
    return effect.result


def _do(kind: Kind, intent: Intent, stake: Stake, who: Who) -> Effect:
    effect = kind.do(intent, who)
    if effect.moved > abs(stake.credits):
        raise InvalidState(problem="What it is about has changed at this moment: try it again.")
    return effect


def _wait(action: AdminAction, intent: Intent, stake: Stake, why: str, who: Who) -> PendingApproval:
    approval = PendingApproval.objects.create(
        action=action,
        user_id=stake.customer_id,
        subject_id=intent.subject_id,
        arguments=intent.arguments,
        amount=min(abs(stake.credits), budgets.UNLIMITED),
        why=why[:500],
        reason=who["reason"],
        requested_by=who["acting_user"],
        requested_at=who["now"],
    )
    _record_decision(AdminAction.REQUEST_GRANT, approval, who)
    return approval


@transaction.atomic(durable=True)
def approve(*, approval_id: UUID, **who: Unpack[Who]) -> Any:
    """Do what waits; returns the result of its kind. Raises Forbidden, InvalidInput, NotFound,
    InvalidState for who may not decide about it, and what the kind raises.

    It is done as of now. InvalidState too where it would move more than was asked for, as what it
    is about has changed meanwhile.
    """
    who = admitted(AdminAction.APPROVE_GRANT, who)
    budgets.lock(who["acting_user"])
    approval = _decide(approval_id, ApprovalState.APPROVED, who)
    action = AdminAction(approval.action)
    kind, intent = _kinds[action], _intent_of(approval, who)
    stake = kind.stake(intent)
    if abs(stake.credits) > approval.amount:
        problem = f"By now it would move {abs(stake.credits)} credits, and not {approval.amount}."
        raise InvalidState(problem=f"{problem} Decline it, and let it be asked for anew.")
    budgets.check_approval(stake, who)
    effect = _do(kind, intent, stake, who)
    record_act(
        AdminAction.APPROVE_GRANT,
        who,
        subject_type=SUBJECTS.get(action, Subject.USER),
        subject_id=effect.subject_id,
        before=effect.before,
        after=effect.after | _of_approval(approval),
        stake=stake,
    )
    if approval.subject_id is None:
        approval.subject_id = effect.subject_id
        approval.save(update_fields=["subject_id"])
    return effect.result


@transaction.atomic(durable=True)
def decline(*, approval_id: UUID, **who: Unpack[Who]) -> None:
    """Nothing is done. Raises Forbidden, InvalidInput, NotFound, InvalidState."""
    who = admitted(AdminAction.APPROVE_GRANT, who)
    approval = _decide(approval_id, ApprovalState.DECLINED, who)
    _record_decision(AdminAction.DECLINE_GRANT, approval, who)


def details(approval: PendingApproval) -> list[tuple[str, Any]]:
    """The act in (name, value), for the second person."""
    return _kinds[AdminAction(approval.action)].details(approval)


def waiting() -> int:
    return PendingApproval.objects.filter(state=ApprovalState.WAITING).count()


def _decide(approval_id: UUID, state: ApprovalState, who: Who) -> PendingApproval:
    approvals = PendingApproval.objects.select_for_update(of=("self",))
    approval = approvals.filter(id=approval_id).first()
    if approval is None:
        raise NotFound
    if approval.state != ApprovalState.WAITING:
        raise InvalidState(problem=f"This was {approval.state} already.")
    if approval.requested_by_id == who["acting_user"].id:
        raise InvalidState(problem="A second person decides about it.")
    if state == ApprovalState.APPROVED:
        _refuse_who_asked_too(approval, who)
    approval.state, approval.decided_by, approval.decided_at = state, who["acting_user"], who["now"]
    approval.save(update_fields=["state", "decided_by", "decided_at"])
    return approval


def _refuse_who_asked_too(approval: PendingApproval, who: Who) -> None:
    """Who has asked for the same customer or row within a day is no second person for it: two
    members of staff could each ask, and approve the other's."""
    same = Q()
    if approval.user_id:
        same |= Q(user_id__in=credit_queries.users_sharing_wallet(approval.user_id))
    if approval.subject_id:
        same |= Q(subject_id=approval.subject_id)
    if not same:
        return
    asked = PendingApproval.objects.filter(
        same, requested_by=who["acting_user"], requested_at__gt=who["now"] - COUNTED_FOR
    )
    if asked.exists():
        raise InvalidState(
            problem="You have asked for the same customer or row within a day: somebody else"
            " decides about it."
        )


def _intent_of(approval: PendingApproval, who: Who) -> Intent:
    arguments = approval.arguments
    subject_id = approval.subject_id
    if not arguments and approval.action in {
        AdminAction.REFUND_CREDITS,
        AdminAction.ADJUST_CREDITS,
    }:
        # Asked for under the release before, which kept no arguments.
        arguments, subject_id = {"amount": approval.amount}, approval.user_id
    return Intent(subject_id, arguments, who["now"])


def _record_decision(action: AdminAction, approval: PendingApproval, who: Who) -> None:
    subject_type, subject_id = _subject_of(approval)
    record_act(
        action,
        who,
        subject_type=subject_type,
        subject_id=subject_id,
        before={},
        after=_of_approval(approval),
    )


def _subject_of(approval: PendingApproval) -> tuple[Subject, UUID]:
    """Under which the record has the approval."""
    if approval.subject_id:
        return SUBJECTS.get(AdminAction(approval.action), Subject.USER), approval.subject_id
    if approval.user_id:
        return Subject.USER, approval.user_id
    return Subject.APPROVAL, approval.id


def subject_of(approval: PendingApproval) -> UUID:
    return _subject_of(approval)[1]


def _of_approval(approval: PendingApproval) -> dict[str, Any]:
    return {
        "grant": str(approval.id),
        "act": approval.action,
        "amount": approval.amount,
        "requested_by": str(approval.requested_by_id),
        "state": approval.state,
    }
