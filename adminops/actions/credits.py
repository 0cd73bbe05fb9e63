"""Credits that support gives or takes, within the budgets of who acts
(adminops.actions.budgets).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack
from uuid import UUID

from django.db import transaction

from accounts.models import User
from adminops.actions import approvals
from adminops.actions.approvals import Effect, Intent, Kind, Stake, carry_out
from adminops.actions.audit import Who, admitted
from adminops.models import AdminAction, PendingApproval
from credits import services as credit_services
from credits.errors import InsufficientCredits
from rendio.common.errors import InvalidInput, InvalidState, NotFound

if TYPE_CHECKING:
    from credits.models import LedgerEntry

__all__ = [
    "MAX_AMOUNT",
    "Given",
    "adjust_credits",
    "refund_credits",
]

MAX_AMOUNT = 100_000
# What the customer reads in the history of credits; the staff's own words stay in the record.
WORDS = {
    AdminAction.REFUND_CREDITS: "goodwill refund",
    AdminAction.ADJUST_CREDITS: "support adjustment",
}


@dataclass(frozen=True)
class Given:
    """The balance now, in credits; `waiting` is what a second person has to decide first."""

    balance: int
    waiting: PendingApproval | None = None


@transaction.atomic(durable=True)
def refund_credits(*, user_id: UUID, amount: int, **who: Unpack[Who]) -> Given:
    """Give `amount` credits out of goodwill, or have them wait for a second person.

    What the user owes is repaid first, and what comes above the maximum balance lapses. Raises
    Forbidden, InvalidInput, NotFound, InvalidState.
    """
    who = admitted(AdminAction.REFUND_CREDITS, who)
    if not 1 <= amount <= MAX_AMOUNT:
        raise InvalidInput(fields={"amount": [f"Must be from 1 to {MAX_AMOUNT}."]})
    return _give_or_wait(AdminAction.REFUND_CREDITS, user_id, amount, who)


@transaction.atomic(durable=True)
def adjust_credits(*, user_id: UUID, amount: int, **who: Unpack[Who]) -> Given:
    """Correct the balance down, but never below zero, or up, be it once a second person agrees.

    Raises Forbidden, InvalidInput, NotFound, InvalidState, InsufficientCredits.
    """
    who = admitted(AdminAction.ADJUST_CREDITS, who)
    if amount == 0 or abs(amount) > MAX_AMOUNT:
        problem = f"Must be from -{MAX_AMOUNT} to {MAX_AMOUNT} and not 0."
        raise InvalidInput(fields={"amount": [problem]})
    return _give_or_wait(AdminAction.ADJUST_CREDITS, user_id, amount, who)


def _give_or_wait(action: AdminAction, user_id: UUID, amount: int, who: Who) -> Given:
    came = carry_out(action, who, subject_id=user_id, arguments={"amount": amount})
    if isinstance(came, PendingApproval):
        return Given(credit_services.balance_of(user_id).balance, waiting=came)
    given: Given = came
    return given


def _stake(intent: Intent) -> Stake:
    # The lock that orders all changes of these credits.
    credit_services.lock_wallet(user_id=intent.subject, through_merge=True)
    _refuse_closed(intent.subject)
    amount: int = intent.arguments["amount"]
    if amount < 0 and (balance := credit_services.balance_of(intent.subject).balance) < -amount:
        raise InsufficientCredits(required=-amount, available=balance)
    return Stake(amount, intent.subject)


def _refuse_closed(user_id: UUID) -> None:
    user = User.objects.filter(id=user_id).only("closed_at").first()
    if user is None:
        raise NotFound
    if user.closed_at:
        raise InvalidState(problem="This account is closed: nobody could spend the credits.")


def _refund(intent: Intent, who: Who) -> Effect:
    entry = credit_services.grant(
        user_id=intent.subject,
        amount=intent.arguments["amount"],
        source=credit_services.Source.SUPPORT,
        reason=WORDS[AdminAction.REFUND_CREDITS],
        acting_user_id=who["acting_user"].id,
        now=intent.now,
    )
    return _of_entry(intent.subject, entry)


def _adjust(intent: Intent, who: Who) -> Effect:
    entry = credit_services.adjust(
        user_id=intent.subject,
        change=intent.arguments["amount"],
        reason=WORDS[AdminAction.ADJUST_CREDITS],
        acting_user_id=who["acting_user"].id,
        now=intent.now,
    )
    return _of_entry(intent.subject, entry)


def _of_entry(user_id: UUID, entry: LedgerEntry) -> Effect:
    """The wallet before a ledger entry, and as it is now; the entry stands in `after`."""
    balance = credit_services.balance_of(user_id)
    before: dict[str, Any] = {
        "balance": entry.balance_after - entry.change,
        "debt": entry.debt_after - entry.debt_change,
    }
    after = {
        "balance": balance.balance,
        "debt": balance.debt,
        "ledger_entry": str(entry.id),
    }
    return Effect(user_id, before, after, Given(balance.balance))


def _details(approval: PendingApproval) -> list[tuple[str, Any]]:
    return [("Credits", approval.arguments.get("amount", approval.amount))]


approvals.register(AdminAction.REFUND_CREDITS, Kind(_stake, _refund, _details))
approvals.register(AdminAction.ADJUST_CREDITS, Kind(_stake, _adjust, _details))
