"""Refund credits to a customer, or adjust a balance, within the budgets of the actor
(adminops.actions.budgets).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from accounts.models import User
from adminops.actions import approvals
from adminops.actions.approvals import (
    ActionHandler,
    ActionRequest,
    ActionResult,
    CreditImpact,
    perform_or_request_approval,
)
from adminops.actions.audit import StaffAction
from adminops.models import AdminAction, PendingApproval
from credits import services as credit_services
from credits.errors import InsufficientCredits
from rendio.common.errors import InvalidInput, InvalidState, NotFound

if TYPE_CHECKING:
    from credits.models import LedgerEntry

__all__ = [
    "MAX_AMOUNT",
    "GrantResult",
    "adjust_credits",
    "refund_credits",
]

MAX_AMOUNT = 100_000
# Shown to the customer in the credit history; the reason of the staff is in the audit log only.
LEDGER_REASONS = {
    AdminAction.REFUND_CREDITS: "goodwill refund",
    AdminAction.ADJUST_CREDITS: "support adjustment",
}


@dataclass(frozen=True)
class GrantResult:
    """The balance now, in credits; `approval` is set if a second person has to decide first."""

    balance: int
    approval: PendingApproval | None = None


def refund_credits(staff_action: StaffAction, *, user_id: UUID, amount: int) -> GrantResult:
    """Grant `amount` credits out of goodwill, or request approval for it.

    The user's debt is repaid first; credits above the maximum balance expire. Raises Forbidden,
    InvalidInput, NotFound, InvalidState.
    """
    return _grant_or_request_approval(AdminAction.REFUND_CREDITS, staff_action, user_id, amount)


def adjust_credits(staff_action: StaffAction, *, user_id: UUID, amount: int) -> GrantResult:
    """Correct the balance up or down (never below zero), or request approval for it.

    Raises Forbidden, InvalidInput, NotFound, InvalidState, InsufficientCredits.
    """
    return _grant_or_request_approval(AdminAction.ADJUST_CREDITS, staff_action, user_id, amount)


def _grant_or_request_approval(
    action: AdminAction, staff_action: StaffAction, user_id: UUID, amount: int
) -> GrantResult:
    result: GrantResult | PendingApproval = perform_or_request_approval(
        action, staff_action, subject_id=user_id, arguments={"amount": amount}
    )
    if isinstance(result, PendingApproval):
        return GrantResult(credit_services.balance_of(user_id).balance, approval=result)
    return result


def _refund_impact(request: ActionRequest) -> CreditImpact:
    amount: int = request.arguments["amount"]
    if not 1 <= amount <= MAX_AMOUNT:
        raise InvalidInput(fields={"amount": [f"Must be from 1 to {MAX_AMOUNT}."]})
    return _impact(request.subject, amount)


def _adjustment_impact(request: ActionRequest) -> CreditImpact:
    amount: int = request.arguments["amount"]
    if amount == 0 or abs(amount) > MAX_AMOUNT:
        problem = f"Must be from -{MAX_AMOUNT} to {MAX_AMOUNT} and not 0."
        raise InvalidInput(fields={"amount": [problem]})
    return _impact(request.subject, amount)


def _impact(user_id: UUID, amount: int) -> CreditImpact:
    # This lock orders all changes of the wallet.
    credit_services.lock_wallet(user_id=user_id, through_merge=True)
    _check_open(user_id)
    if amount < 0 and (balance := credit_services.balance_of(user_id).balance) < -amount:
        raise InsufficientCredits(required=-amount, available=balance)
    return CreditImpact(amount, user_id)


def _check_open(user_id: UUID) -> None:
    user = User.objects.filter(id=user_id).only("closed_at").first()
    if user is None:
        raise NotFound
    if user.closed_at:
        raise InvalidState(problem="This account is closed. Nobody could spend the credits.")


def _refund(request: ActionRequest, staff_action: StaffAction) -> ActionResult:
    entry = credit_services.grant(
        user_id=request.subject,
        amount=request.arguments["amount"],
        source=credit_services.Source.SUPPORT,
        reason=LEDGER_REASONS[AdminAction.REFUND_CREDITS],
        acting_user_id=staff_action.actor.id,
        now=request.now,
    )
    return _result(request.subject, entry)


def _adjust(request: ActionRequest, staff_action: StaffAction) -> ActionResult:
    entry = credit_services.adjust(
        user_id=request.subject,
        change=request.arguments["amount"],
        reason=LEDGER_REASONS[AdminAction.ADJUST_CREDITS],
        acting_user_id=staff_action.actor.id,
        now=request.now,
    )
    return _result(request.subject, entry)


def _result(user_id: UUID, entry: LedgerEntry) -> ActionResult:
    """The wallet before the ledger entry and now."""
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
    return ActionResult(user_id, before, after, GrantResult(balance.balance))


def _details(approval: PendingApproval) -> list[tuple[str, Any]]:
    return [("Credits", approval.arguments.get("amount", approval.amount))]


approvals.register(AdminAction.REFUND_CREDITS, ActionHandler(_refund_impact, _refund, _details))
approvals.register(AdminAction.ADJUST_CREDITS, ActionHandler(_adjustment_impact, _adjust, _details))
