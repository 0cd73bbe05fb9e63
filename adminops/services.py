"""Support's acts. Each is one transaction of its own: the effect, and the record of who did it,
why, and what it was before and after.

An act may bring an `act_id`, made when its form was shown: the same form sent twice acts once, and
the second is refused.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from django.db import transaction

from accounts import services as account_services
from accounts.models import User
from adminops.errors import InvalidInput, InvalidModel, InvalidState, NotFound
from adminops.models import REASON_MAX, REASON_MIN, Action, AdminAction, Subject
from billing import services as billing_services
from credits import services as credit_services
from credits.services import InsufficientCredits
from generation import catalogue
from generation.models import Model
from rendio.common import request_id
from rendio.common.ids import uuid7
from rendio.common.times import iso

if TYPE_CHECKING:
    from credits.models import LedgerEntry

__all__ = [
    "MAX_AMOUNT",
    "InsufficientCredits",
    "InvalidInput",
    "InvalidModel",
    "InvalidState",
    "NotFound",
    "adjust_credits",
    "assign_purchase",
    "ban_user",
    "refund_credits",
    "toggle_model",
    "unban_user",
]

MAX_AMOUNT = 100_000
# What the customer reads in the history of credits; the staff's own words stay in the record.
REFUNDED, ADJUSTED = "goodwill refund", "support adjustment"

logger = structlog.get_logger(__name__)


@transaction.atomic(durable=True)
def refund_credits(
    *,
    user_id: UUID,
    amount: int,
    reason: str,
    acting_user: User,
    now: datetime,
    act_id: UUID | None = None,
) -> int:
    """Give `amount` credits out of goodwill; returns the new balance, in credits.

    What the user owes is repaid first, and what comes above the maximum balance lapses. Raises
    InvalidInput, NotFound, InvalidState.
    """
    reason = checked_reason(reason)
    if not 1 <= amount <= MAX_AMOUNT:
        raise InvalidInput(fields={"amount": [f"Must be from 1 to {MAX_AMOUNT}."]})
    _refuse_closed(user_id)
    entry = credit_services.grant(
        user_id=user_id,
        amount=amount,
        source=credit_services.Source.SUPPORT,
        reason=REFUNDED,
        acting_user_id=acting_user.id,
        now=now,
    )
    balance = credit_services.balance_of(user_id)
    record_act(
        Action.REFUND_CREDITS,
        subject_id=user_id,
        reason=reason,
        acting_user=acting_user,
        now=now,
        act_id=act_id,
        **_of_entry(entry, balance),
    )
    return balance.balance


@transaction.atomic(durable=True)
def adjust_credits(
    *,
    user_id: UUID,
    amount: int,
    reason: str,
    acting_user: User,
    now: datetime,
    act_id: UUID | None = None,
) -> int:
    """Correct the balance up, or down but never below zero; returns the new one, in credits.

    Raises InvalidInput, NotFound, InvalidState, InsufficientCredits.
    """
    reason = checked_reason(reason)
    if amount == 0 or abs(amount) > MAX_AMOUNT:
        problem = f"Must be from -{MAX_AMOUNT} to {MAX_AMOUNT} and not 0."
        raise InvalidInput(fields={"amount": [problem]})
    _refuse_closed(user_id)
    entry = credit_services.adjust(
        user_id=user_id, change=amount, reason=ADJUSTED, acting_user_id=acting_user.id, now=now
    )
    balance = credit_services.balance_of(user_id)
    record_act(
        Action.ADJUST_CREDITS,
        subject_id=user_id,
        reason=reason,
        acting_user=acting_user,
        now=now,
        act_id=act_id,
        **_of_entry(entry, balance),
    )
    return balance.balance


@transaction.atomic(durable=True)
def ban_user(
    *, user_id: UUID, reason: str, acting_user: User, now: datetime, act_id: UUID | None = None
) -> None:
    """Nothing is spent from now on and all sessions end.

    Raises InvalidInput, NotFound, and InvalidState for oneself, for staff unless a superuser asks,
    and for who is banned already.
    """
    reason = checked_reason(reason)
    user = _locked_user(user_id, acting_user)
    if user.suspended_at:
        raise InvalidState(problem="This user is banned already.")
    before = _standing(user)
    account_services.ban_user(
        user_id=user_id, reason=reason, acting_user_id=acting_user.id, now=now
    )
    user.refresh_from_db()
    record_act(
        Action.BAN_USER,
        subject_id=user_id,
        reason=reason,
        acting_user=acting_user,
        now=now,
        act_id=act_id,
        before=before,
        after=_standing(user),
    )


@transaction.atomic(durable=True)
def unban_user(
    *, user_id: UUID, reason: str, acting_user: User, now: datetime, act_id: UUID | None = None
) -> None:
    """The user may sign in and spend again. Raises InvalidInput, NotFound, InvalidState."""
    reason = checked_reason(reason)
    user = _locked_user(user_id, acting_user)
    if not user.suspended_at:
        raise InvalidState(problem="This user is not banned.")
    before = _standing(user)
    account_services.unban_user(user_id=user_id, reason=reason, acting_user_id=acting_user.id)
    user.refresh_from_db()
    record_act(
        Action.UNBAN_USER,
        subject_id=user_id,
        reason=reason,
        acting_user=acting_user,
        now=now,
        act_id=act_id,
        before=before,
        after=_standing(user),
    )


@transaction.atomic(durable=True)
def toggle_model(
    *,
    model_id: UUID,
    is_available: bool,
    reason: str,
    acting_user: User,
    now: datetime,
    act_id: UUID | None = None,
) -> None:
    """Put a model on sale or take it off; jobs that were sold go on. Setting what is set is
    recorded too. Raises InvalidInput, InvalidModel."""
    reason = checked_reason(reason)
    model = Model.objects.select_for_update(no_key=True).filter(id=model_id).first()
    if model is None:
        raise InvalidModel
    before = {"is_available": model.is_available}
    model.is_available = is_available
    model.save(update_fields=["is_available"])
    record_act(
        Action.TOGGLE_MODEL,
        subject_id=model_id,
        reason=reason,
        acting_user=acting_user,
        now=now,
        act_id=act_id,
        before=before,
        after={"is_available": is_available},
    )
    transaction.on_commit(catalogue.forget)


@transaction.atomic(durable=True)
def assign_purchase(
    *,
    purchase_id: UUID,
    user_id: UUID,
    reason: str,
    acting_user: User,
    now: datetime,
    act_id: UUID | None = None,
) -> int:
    """Give a purchase that waits for its owner to this user; returns the credits that it brought.

    Raises InvalidInput, NotFound, InvalidState.
    """
    reason = checked_reason(reason)
    purchase = billing_services.assign_purchase(purchase_id=purchase_id, user_id=user_id, now=now)
    record_act(
        Action.ASSIGN_PURCHASE,
        subject_id=purchase_id,
        reason=reason,
        acting_user=acting_user,
        now=now,
        act_id=act_id,
        before={"user": None},
        after={"user": str(purchase.user_id), "credits": purchase.credits},
    )
    return purchase.credits or 0


def _refuse_closed(user_id: UUID) -> None:
    user = User.objects.filter(id=user_id).only("closed_at").first()
    if user is None:
        raise NotFound
    if user.closed_at:
        raise InvalidState(problem="This account is closed: nobody could spend the credits.")


def _locked_user(user_id: UUID, acting_user: User) -> User:
    """The user whom `acting_user` may ban or unban, locked until the transaction ends."""
    with suppress(NotFound):  # staff have no wallet
        # The wallet before the user, as everywhere: two orders would lock each other up.
        credit_services.lock_wallet(user_id=user_id)
    user = User.objects.select_for_update(no_key=True).filter(id=user_id).first()
    if user is None:
        raise NotFound
    if user.id == acting_user.id:
        raise InvalidState(problem="Nobody does this to their own account.")
    if user.is_staff and not acting_user.is_superuser:
        raise InvalidState(problem="Only a superuser does this to a member of staff.")
    return user


def _standing(user: User) -> dict[str, Any]:
    return {
        "banned_at": iso(user.suspended_at),
        "reason": user.suspended_reason,
    }


def _of_entry(entry: LedgerEntry, balance: credit_services.Balance) -> dict[str, dict[str, Any]]:
    """The wallet before a ledger entry, and as it is now; the entry stands in `after`."""
    return {
        "before": {
            "balance": entry.balance_after - entry.change,
            "debt": entry.debt_after - entry.debt_change,
        },
        "after": {
            "balance": balance.balance,
            "debt": balance.debt,
            "ledger_entry": str(entry.id),
        },
    }


def checked_reason(reason: str) -> str:
    """The reason without white space around it. Raises InvalidInput."""
    reason = reason.strip()
    if not REASON_MIN <= len(reason) <= REASON_MAX:
        problem = f"Write a reason of {REASON_MIN} to {REASON_MAX} characters."
        raise InvalidInput(fields={"reason": [problem]})
    return reason


_SUBJECTS = {
    Action.TOGGLE_MODEL: Subject.MODEL,
    Action.ASSIGN_PURCHASE: Subject.PURCHASE,
    Action.RELEASE_PURCHASE: Subject.PURCHASE,
    Action.OVERRIDE_REFUND: Subject.PURCHASE,
    Action.RESET_PROVIDER: Subject.PROVIDER,
    Action.SWITCH_MAINTENANCE: Subject.SERVICE,
    Action.RETRY_DEAD_LETTER: Subject.LETTER,
    Action.DISMISS_DEAD_LETTER: Subject.LETTER,
    Action.MAKE_CODE: Subject.CODE,
    Action.CHANGE_CODE: Subject.CODE,
    Action.TOGGLE_CODE: Subject.CODE,
}


def record_act(
    action: Action,
    *,
    subject_id: UUID,
    reason: str,
    acting_user: User,
    now: datetime,
    act_id: UUID | None,
    before: dict[str, Any],
    after: dict[str, Any],
) -> None:
    """Write the record; a refusal here takes the effect back too.

    Last, while the subject is locked: an earlier run of the same act has committed by now.
    """
    if act_id and AdminAction.objects.filter(id=act_id).exists():
        raise InvalidState(problem="This form was sent before, and it has been done.")
    subject_type = _SUBJECTS.get(action, Subject.USER)
    AdminAction.objects.create(
        id=act_id or uuid7(),
        at=now,
        actor=acting_user,
        action=action,
        subject_type=subject_type,
        subject_id=subject_id,
        reason=reason,
        before=before,
        after=after,
        request_id=request_id.current() or "",
    )
    logger.info(
        "support_action",
        action=action.value,
        subject_type=subject_type.value,
        subject_id=str(subject_id),
        actor_id=str(acting_user.id),
    )
