"""Support's acts upon users and what is on sale (adminops.acting has what all acts share)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Unpack
from uuid import UUID

from django.db import transaction

from accounts import services as account_services
from accounts.models import User
from adminops.acting import Who, admitted, record_act
from adminops.errors import InvalidInput, InvalidModel, InvalidState, NotFound
from adminops.models import Action
from credits import services as credit_services
from credits.services import InsufficientCredits
from generation import catalogue
from generation.models import Model
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
    "ban_user",
    "refund_credits",
    "toggle_model",
    "unban_user",
]

MAX_AMOUNT = 100_000
# What the customer reads in the history of credits; the staff's own words stay in the record.
REFUNDED, ADJUSTED = "goodwill refund", "support adjustment"


@transaction.atomic(durable=True)
def refund_credits(*, user_id: UUID, amount: int, **who: Unpack[Who]) -> int:
    """Give `amount` credits out of goodwill; returns the new balance, in credits.

    What the user owes is repaid first, and what comes above the maximum balance lapses. Raises
    InvalidInput, NotFound, InvalidState.
    """
    who = admitted(Action.REFUND_CREDITS, who)
    if not 1 <= amount <= MAX_AMOUNT:
        raise InvalidInput(fields={"amount": [f"Must be from 1 to {MAX_AMOUNT}."]})
    _refuse_closed(user_id)
    entry = credit_services.grant(
        user_id=user_id,
        amount=amount,
        source=credit_services.Source.SUPPORT,
        reason=REFUNDED,
        acting_user_id=who["acting_user"].id,
        now=who["now"],
    )
    balance = credit_services.balance_of(user_id)
    record_act(Action.REFUND_CREDITS, who, subject_id=user_id, **_of_entry(entry, balance))
    return balance.balance


@transaction.atomic(durable=True)
def adjust_credits(*, user_id: UUID, amount: int, **who: Unpack[Who]) -> int:
    """Correct the balance up, or down but never below zero; returns the new one, in credits.

    Raises InvalidInput, NotFound, InvalidState, InsufficientCredits.
    """
    who = admitted(Action.ADJUST_CREDITS, who)
    if amount == 0 or abs(amount) > MAX_AMOUNT:
        problem = f"Must be from -{MAX_AMOUNT} to {MAX_AMOUNT} and not 0."
        raise InvalidInput(fields={"amount": [problem]})
    _refuse_closed(user_id)
    entry = credit_services.adjust(
        user_id=user_id,
        change=amount,
        reason=ADJUSTED,
        acting_user_id=who["acting_user"].id,
        now=who["now"],
    )
    balance = credit_services.balance_of(user_id)
    record_act(Action.ADJUST_CREDITS, who, subject_id=user_id, **_of_entry(entry, balance))
    return balance.balance


@transaction.atomic(durable=True)
def ban_user(*, user_id: UUID, **who: Unpack[Who]) -> None:
    """Nothing is spent from now on and all sessions end.

    Raises InvalidInput, NotFound, and InvalidState for oneself, for staff unless a superuser asks,
    and for who is banned already.
    """
    who = admitted(Action.BAN_USER, who)
    user = _locked_user(user_id, who["acting_user"])
    if user.suspended_at:
        raise InvalidState(problem="This user is banned already.")
    before = _standing(user)
    account_services.ban_user(
        user_id=user_id, reason=who["reason"], acting_user_id=who["acting_user"].id, now=who["now"]
    )
    user.refresh_from_db()
    record_act(Action.BAN_USER, who, subject_id=user_id, before=before, after=_standing(user))


@transaction.atomic(durable=True)
def unban_user(*, user_id: UUID, **who: Unpack[Who]) -> None:
    """The user may sign in and spend again. Raises InvalidInput, NotFound, InvalidState."""
    who = admitted(Action.UNBAN_USER, who)
    user = _locked_user(user_id, who["acting_user"])
    if not user.suspended_at:
        raise InvalidState(problem="This user is not banned.")
    before = _standing(user)
    account_services.unban_user(
        user_id=user_id, reason=who["reason"], acting_user_id=who["acting_user"].id
    )
    user.refresh_from_db()
    record_act(Action.UNBAN_USER, who, subject_id=user_id, before=before, after=_standing(user))


@transaction.atomic(durable=True)
def toggle_model(*, model_id: UUID, is_available: bool, **who: Unpack[Who]) -> None:
    """Put a model on sale or take it off; jobs that were sold go on. Setting what is set is
    recorded too. Raises InvalidInput, InvalidModel."""
    who = admitted(Action.TOGGLE_MODEL, who)
    model = Model.objects.select_for_update(no_key=True).filter(id=model_id).first()
    if model is None:
        raise InvalidModel
    before = {"is_available": model.is_available}
    model.is_available = is_available
    model.save(update_fields=["is_available"])
    record_act(
        Action.TOGGLE_MODEL,
        who,
        subject_id=model_id,
        before=before,
        after={"is_available": is_available},
    )
    transaction.on_commit(catalogue.forget)


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
