"""How much one member of staff may move alone: two budgets over everything that brings credits or
takes them, counted from the record of acts, which nobody can change.

- SUPPORT_GRANT_LIMIT: credits that one member of staff brings one customer within 24 hours. What
  any customer may get of an act (a promotion code, an incident) counts as given to every customer,
  because nobody knows at that time who will get the most.
- SUPPORT_DAILY_BUDGET: credits that one member of staff moves within 24 hours, for all customers
  together, given and taken alike.

What goes beyond one of them waits for a second person (adminops.actions.approvals). What the second
person approves counts against a budget of the approver, SUPPORT_APPROVAL_BUDGET, and not against
that of who asked: two people who approve each other's acts come to an end as well.

Acts of one member of staff are counted one after the other, under a lock on their user row. It is
the first lock that an act takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet, Sum
from django.db.models.functions import Abs

from accounts.models import User
from adminops.actions.audit import Who
from adminops.models import AdminAction, AuditLogEntry
from credits import queries as credit_queries
from rendio.common.errors import InvalidState

# A window that moves along: a day that begins at midnight could be used twice within minutes.
COUNTED_FOR = timedelta(hours=24)
# Of an act whose size nobody can know, such as a code without a limit.
UNLIMITED = 2**31 - 1


@dataclass(frozen=True)
class Stake:
    """What an act moves."""

    credits: int = 0  # below 0 where a customer loses them
    customer_id: UUID | None = None  # who gets or loses them, if it is a single customer
    # The most that any one customer may get of them, where `customer_id` is None.
    max_per_customer: int = 0
    # Why a second person decides whatever the size is; empty: the budgets decide.
    second_person: str = ""


@dataclass(frozen=True)
class Used:
    """Credits that a member of staff has moved within COUNTED_FOR."""

    moved: int
    approved: int


def daily_budget() -> int:
    """In credits; 0 is any number. By default five customers' worth of SUPPORT_GRANT_LIMIT."""
    budget: int | None = settings.SUPPORT_DAILY_BUDGET
    return 5 * settings.SUPPORT_GRANT_LIMIT if budget is None else budget


def approval_budget() -> int:
    """In credits; 0 is any number. By default twenty times the daily budget."""
    budget: int | None = settings.SUPPORT_APPROVAL_BUDGET
    return 20 * daily_budget() if budget is None else budget


def lock(staff: User) -> None:
    """Let the acts of this member of staff wait for each other until the transaction ends."""
    User.objects.select_for_update(no_key=True).only("id").get(id=staff.id)


def used_by(staff_id: UUID, *, now: datetime) -> Used:
    counted = _counted(staff_id, now)
    approved = counted.filter(action=AdminAction.APPROVE_GRANT)
    return Used(
        moved=_sum(counted.exclude(action=AdminAction.APPROVE_GRANT)), approved=_sum(approved)
    )


def why_not_alone(stake: Stake, who: Who) -> str:
    """Why this member of staff may not do it alone, in words; empty if they may. The caller holds
    the lock."""
    if stake.second_person:
        return stake.second_person
    if not stake.credits:
        return ""
    staff_id = who["acting_user"].id
    limit = settings.SUPPORT_GRANT_LIMIT
    share = stake.credits if stake.customer_id else stake.max_per_customer
    if limit and share > 0:
        given = _given_to_one(stake.customer_id, staff_id, who)
        if given + share > limit:
            return (
                f"One member of staff gives one customer at most {limit} credits a day; it would"
                f" be {_number(given + share)}."
            )
    budget, moved = daily_budget(), used_by(staff_id, now=who["now"]).moved
    if budget and moved + abs(stake.credits) > budget:
        return (
            f"One member of staff moves at most {budget} credits a day; it would be"
            f" {_number(moved + abs(stake.credits))}."
        )
    return ""


def check_approval(stake: Stake, who: Who) -> None:
    """Raises InvalidState beyond the approver's own budget. A superuser, who could make staff and
    roles, has none."""
    approver, budget = who["acting_user"], approval_budget()
    if not budget or approver.is_superuser:
        return
    approved = used_by(approver.id, now=who["now"]).approved
    if approved + abs(stake.credits) > budget:
        raise InvalidState(
            problem=f"One person approves at most {budget} credits a day; it would be"
            f" {_number(approved + abs(stake.credits))}. Somebody else, or a superuser, decides."
        )


def _given_to_one(customer_id: UUID | None, staff_id: UUID, who: Who) -> int:
    """The most that this customer may have got; None: any customer.

    Merges are followed: what went to guests who have become one account counts together.
    """
    counted = _counted(staff_id, who["now"]).exclude(action=AdminAction.APPROVE_GRANT)
    to_any = counted.aggregate(total=Sum("max_per_customer"))["total"] or 0
    given = counted.filter(customer_id__isnull=False, credits__gt=0)
    if customer_id:
        return to_any + _sum(given.filter(customer_id__in=_in_one_wallet(customer_id)))
    sums = dict(given.values_list("customer_id").annotate(Sum("credits")))
    together = (sum(sums.get(one, 0) for one in _in_one_wallet(customer)) for customer in sums)
    return to_any + max(together, default=0)


def _in_one_wallet(customer_id: UUID) -> list[UUID]:
    return credit_queries.users_sharing_wallet(customer_id)


def _counted(staff_id: UUID, now: datetime) -> QuerySet[AuditLogEntry]:
    return AuditLogEntry.objects.filter(
        actor_id=staff_id, at__gt=now - COUNTED_FOR, credits__isnull=False
    )


def _sum(acts: QuerySet[AuditLogEntry]) -> int:
    total: int | None = acts.aggregate(total=Sum(Abs("credits")))["total"]
    return total or 0


def _number(credits: int) -> str:
    return "any number" if credits >= UNLIMITED else f"{credits}"
