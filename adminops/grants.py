"""Credits that support gives or takes. What one member of staff would give one user within a day
above SUPPORT_GRANT_LIMIT waits for a second person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Unpack
from uuid import UUID

from django.conf import settings
from django.db import transaction

from accounts.models import User
from adminops.acting import Who, admitted, record_act
from adminops.errors import InvalidInput, InvalidState, NotFound
from adminops.models import Action, GrantState, PendingGrant
from credits import queries as credit_queries
from credits import services as credit_services
from credits.services import InsufficientCredits

if TYPE_CHECKING:
    from credits.models import LedgerEntry

__all__ = [
    "MAX_AMOUNT",
    "Given",
    "InsufficientCredits",
    "adjust_credits",
    "approve_grant",
    "decline_grant",
    "refund_credits",
]

MAX_AMOUNT = 100_000
# What counts together: a large grant in small parts is a large one.
COUNTED_FOR = timedelta(hours=24)
# What the customer reads in the history of credits; the staff's own words stay in the record.
WORDS = {
    Action.REFUND_CREDITS: "goodwill refund",
    Action.ADJUST_CREDITS: "support adjustment",
}


@dataclass(frozen=True)
class Given:
    """The balance now, in credits; `waiting` is what a second person has to decide first."""

    balance: int
    waiting: PendingGrant | None = None


@transaction.atomic(durable=True)
def refund_credits(*, user_id: UUID, amount: int, **who: Unpack[Who]) -> Given:
    """Give `amount` credits out of goodwill, or have them wait for a second person.

    What the user owes is repaid first, and what comes above the maximum balance lapses. Raises
    Forbidden, InvalidInput, NotFound, InvalidState.
    """
    who = admitted(Action.REFUND_CREDITS, who)
    if not 1 <= amount <= MAX_AMOUNT:
        raise InvalidInput(fields={"amount": [f"Must be from 1 to {MAX_AMOUNT}."]})
    return _give_or_wait(Action.REFUND_CREDITS, user_id, amount, who)


@transaction.atomic(durable=True)
def adjust_credits(*, user_id: UUID, amount: int, **who: Unpack[Who]) -> Given:
    """Correct the balance down, but never below zero, or up, be it once a second person agrees.

    Raises Forbidden, InvalidInput, NotFound, InvalidState, InsufficientCredits.
    """
    who = admitted(Action.ADJUST_CREDITS, who)
    if amount == 0 or abs(amount) > MAX_AMOUNT:
        problem = f"Must be from -{MAX_AMOUNT} to {MAX_AMOUNT} and not 0."
        raise InvalidInput(fields={"amount": [problem]})
    return _give_or_wait(Action.ADJUST_CREDITS, user_id, amount, who)


@transaction.atomic(durable=True)
def approve_grant(*, grant_id: UUID, **who: Unpack[Who]) -> Given:
    """Give what waits. Raises Forbidden, InvalidInput, NotFound, and InvalidState for one's own,
    for one that is decided and for a user who has left."""
    who = admitted(Action.APPROVE_GRANT, who)
    grant = _decide(grant_id, GrantState.APPROVED, who)
    entry = _give(Action(grant.action), grant.user_id, grant.amount, who)
    balance = credit_services.balance_of(grant.user_id)
    of_entry = _of_entry(entry, balance)
    of_entry["after"] |= _of_grant(grant)
    record_act(Action.APPROVE_GRANT, who, subject_id=grant.user_id, **of_entry)
    return Given(balance.balance)


@transaction.atomic(durable=True)
def decline_grant(*, grant_id: UUID, **who: Unpack[Who]) -> None:
    """Nothing is given. Raises as approve_grant does."""
    who = admitted(Action.APPROVE_GRANT, who)
    grant = _decide(grant_id, GrantState.DECLINED, who)
    record_act(
        Action.DECLINE_GRANT, who, subject_id=grant.user_id, before={}, after=_of_grant(grant)
    )


def _give_or_wait(action: Action, user_id: UUID, amount: int, who: Who) -> Given:
    # The lock that orders all changes of these credits: two parts of one grant count together.
    credit_services.lock_wallet(user_id=user_id, through_merge=True)
    if amount > 0 and _is_above_limit(user_id, amount, who):
        return _wait(action, user_id, amount, who)
    entry = _give(action, user_id, amount, who)
    balance = credit_services.balance_of(user_id)
    record_act(action, who, subject_id=user_id, **_of_entry(entry, balance))
    return Given(balance.balance)


def _is_above_limit(user_id: UUID, amount: int, who: Who) -> bool:
    if not settings.SUPPORT_GRANT_LIMIT:
        return False
    given = credit_queries.given_by(
        user_id=user_id, acting_user_id=who["acting_user"].id, since=who["now"] - COUNTED_FOR
    )
    return given + amount > settings.SUPPORT_GRANT_LIMIT


def _wait(action: Action, user_id: UUID, amount: int, who: Who) -> Given:
    _refuse_closed(user_id)
    grant = PendingGrant.objects.create(
        user_id=user_id,
        action=action,
        amount=amount,
        reason=who["reason"],
        requested_by=who["acting_user"],
        requested_at=who["now"],
    )
    record_act(Action.REQUEST_GRANT, who, subject_id=user_id, before={}, after=_of_grant(grant))
    return Given(credit_services.balance_of(user_id).balance, waiting=grant)


def _decide(grant_id: UUID, state: GrantState, who: Who) -> PendingGrant:
    grant = PendingGrant.objects.select_for_update().filter(id=grant_id).first()
    if grant is None:
        raise NotFound
    if grant.state != GrantState.WAITING:
        raise InvalidState(problem=f"This was {grant.state} already.")
    if grant.requested_by_id == who["acting_user"].id:
        raise InvalidState(problem="A second person decides about it.")
    grant.state, grant.decided_by, grant.decided_at = state, who["acting_user"], who["now"]
    grant.save(update_fields=["state", "decided_by", "decided_at"])
    return grant


def _give(action: Action, user_id: UUID, amount: int, who: Who) -> LedgerEntry:
    _refuse_closed(user_id)
    actor_id, now = who["acting_user"].id, who["now"]
    if action == Action.ADJUST_CREDITS:
        return credit_services.adjust(
            user_id=user_id, change=amount, reason=WORDS[action], acting_user_id=actor_id, now=now
        )
    return credit_services.grant(
        user_id=user_id,
        amount=amount,
        source=credit_services.Source.SUPPORT,
        reason=WORDS[action],
        acting_user_id=actor_id,
        now=now,
    )


def _refuse_closed(user_id: UUID) -> None:
    user = User.objects.filter(id=user_id).only("closed_at").first()
    if user is None:
        raise NotFound
    if user.closed_at:
        raise InvalidState(problem="This account is closed: nobody could spend the credits.")


def _of_grant(grant: PendingGrant) -> dict[str, Any]:
    return {
        "grant": str(grant.id),
        "amount": grant.amount,
        "requested_by": str(grant.requested_by_id),
        "state": grant.state,
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
