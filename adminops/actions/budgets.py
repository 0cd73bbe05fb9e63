"""How many credits a member of staff may move without a second person.

Two budgets cover every action that gives or takes credits. They are counted from the audit log,
which nobody can change.

- SUPPORT_GRANT_LIMIT: credits that one member of staff gives one customer within 24 hours. Credits
  that any customer may get (from a promotion code or an incident) count for every customer, because
  nobody knows at that time who gets the most.
- SUPPORT_DAILY_BUDGET: credits that one member of staff moves within 24 hours, given or taken, for
  all customers together.

An action beyond a budget needs a second person's approval (adminops.actions.approvals). An approved
action counts against SUPPORT_APPROVAL_BUDGET of the approver, not against the requester's budgets:
two people who approve each other's actions reach a limit too.

The actions of one member of staff are counted one after the other, under a lock on the user row.
This lock is the first that an action takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet, Sum
from django.db.models.functions import Abs

from accounts.models import User
from adminops.actions.audit import StaffAction
from adminops.models import AdminAction, AuditLogEntry
from credits import queries as credit_queries
from rendio.common.errors import InvalidState

# A sliding window: a day that begins at midnight could be used twice within minutes.
BUDGET_WINDOW = timedelta(hours=24)
# For an action without a known maximum, such as a promotion code without a limit.
UNLIMITED = 2**31 - 1
# Defaults: the daily budget in SUPPORT_GRANT_LIMITs, the approval budget in daily budgets.
DAILY_BUDGET_FACTOR = 5
APPROVAL_BUDGET_FACTOR = 20


@dataclass(frozen=True)
class CreditImpact:
    """The credits that an action moves."""

    credits: int = 0  # negative if a customer loses credits
    customer_id: UUID | None = None  # the customer who gets or loses them, if there is only one
    # The most that one customer may get, if `customer_id` is None.
    max_per_customer: int = 0
    # Why an approval is needed for any number of credits; empty: the budgets decide.
    approval_reason: str = ""


@dataclass(frozen=True)
class BudgetUsage:
    """Credits that a member of staff moved and approved within BUDGET_WINDOW."""

    moved: int
    approved: int


def daily_budget() -> int:
    """In credits; 0: no limit. The default is DAILY_BUDGET_FACTOR times SUPPORT_GRANT_LIMIT."""
    budget: int | None = settings.SUPPORT_DAILY_BUDGET
    return DAILY_BUDGET_FACTOR * settings.SUPPORT_GRANT_LIMIT if budget is None else budget


def approval_budget() -> int:
    """In credits; 0: no limit. The default is APPROVAL_BUDGET_FACTOR times the daily budget."""
    budget: int | None = settings.SUPPORT_APPROVAL_BUDGET
    return APPROVAL_BUDGET_FACTOR * daily_budget() if budget is None else budget


def lock_actor(actor: User) -> None:
    """Serialize the actions of this member of staff until the transaction ends."""
    User.objects.select_for_update(no_key=True).only("id").get(id=actor.id)


def get_usage(staff_id: UUID, *, now: datetime) -> BudgetUsage:
    entries = _entries_in_window(staff_id, now)
    return BudgetUsage(
        moved=_sum_credits(entries.exclude(action=AdminAction.APPROVE)),
        approved=_sum_credits(entries.filter(action=AdminAction.APPROVE)),
    )


def approval_reason(impact: CreditImpact, staff_action: StaffAction) -> str:
    """Why the action needs a second person, as a sentence; empty if it needs none. The caller
    holds the lock on the actor."""
    if impact.approval_reason:
        return impact.approval_reason
    if not impact.credits:
        return ""
    limit = settings.SUPPORT_GRANT_LIMIT
    share = impact.credits if impact.customer_id else impact.max_per_customer
    if limit and share > 0:
        total = _max_given_to_customer(impact.customer_id, staff_action) + share
        if total > limit:
            return (
                f"A member of staff can give one customer at most {limit} credits a day; with this"
                f" action, it would be {_as_text(total)}."
            )
    moved = get_usage(staff_action.actor.id, now=staff_action.now).moved
    total, budget = moved + abs(impact.credits), daily_budget()
    if budget and total > budget:
        return (
            f"A member of staff can move at most {budget} credits a day; with this action, it"
            f" would be {_as_text(total)}."
        )
    return ""


def check_approval_budget(impact: CreditImpact, staff_action: StaffAction) -> None:
    """Raises InvalidState beyond the approver's own budget. A superuser, who could create staff and
    roles anyway, has no such budget."""
    approver, budget = staff_action.actor, approval_budget()
    if not budget or approver.is_superuser:
        return
    total = get_usage(approver.id, now=staff_action.now).approved + abs(impact.credits)
    if total > budget:
        raise InvalidState(
            problem=f"One person can approve at most {budget} credits a day; with this action, it"
            f" would be {_as_text(total)}. Another approver or a superuser has to decide."
        )


def _max_given_to_customer(customer_id: UUID | None, staff_action: StaffAction) -> int:
    """The most that this customer may have got from the actor; None: any customer.

    Users whose wallets were merged count as one customer.
    """
    entries = _entries_in_window(staff_action.actor.id, staff_action.now)
    entries = entries.exclude(action=AdminAction.APPROVE)
    to_any = entries.aggregate(total=Sum("max_per_customer"))["total"] or 0
    given = entries.filter(customer_id__isnull=False, credits__gt=0)
    if customer_id:
        customers = credit_queries.users_sharing_wallet(customer_id)
        return to_any + _sum_credits(given.filter(customer_id__in=customers))
    by_customer = dict(given.values_list("customer_id").annotate(Sum("credits")))
    by_wallet = (
        sum(by_customer.get(user_id, 0) for user_id in credit_queries.users_sharing_wallet(one))
        for one in by_customer
    )
    return to_any + max(by_wallet, default=0)


def _entries_in_window(staff_id: UUID, now: datetime) -> QuerySet[AuditLogEntry]:
    return AuditLogEntry.objects.filter(
        actor_id=staff_id, at__gt=now - BUDGET_WINDOW, credits__isnull=False
    )


def _sum_credits(entries: QuerySet[AuditLogEntry]) -> int:
    total: int | None = entries.aggregate(total=Sum(Abs("credits")))["total"]
    return total or 0


def _as_text(credits: int) -> str:
    return "any number" if credits >= UNLIMITED else f"{credits}"
