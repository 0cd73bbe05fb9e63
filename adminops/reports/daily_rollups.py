"""Daily totals of jobs, credits and sales, for the dashboards.

Idempotent: a refresh recomputes all totals of a day, under the lock of the day's row. A missed
refresh is made up by the next one. Jobs can change for some hours after their order, so a day is
refreshed until a refresh runs more than FINAL_AFTER after its end, and again when one of its jobs
is refunded later.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import TypedDict
from uuid import UUID

from django.db import transaction
from django.db.models import Case, Count, DecimalField, OuterRef, Subquery, Sum, When
from django.db.models.functions import Coalesce

from adminops.models import CountedDay, CreditDay, JobDay, SaleDay
from billing.models import Purchase
from credits import flows
from generation.models import Job, ProviderRequest
from rendio.common.background.due_rows import run_all
from rendio.common.ids import lowest_uuid7, time_of_uuid7

FINAL_AFTER = timedelta(days=1)
# Longest time between the creation of a refund's id and its commit.
MAX_TRANSACTION = timedelta(minutes=5)
# Longest period of a dashboard, plus a day.
DAYS = 31


def refresh(*, now: datetime) -> None:
    """Refresh the days that are not final, today last.

    Each day has its own transaction. An exception does not stop the other days. It is raised
    after them.
    """
    run_all(*(partial(_refresh_day, day, now=now) for day in _days_to_refresh(now)))


def _days_to_refresh(now: datetime) -> Iterator[date]:
    today = now.astimezone(UTC).date()
    days = [today - timedelta(days=back) for back in reversed(range(DAYS))]
    counted_at = dict(
        CountedDay.objects.filter(date__gte=days[0]).values_list("date", "counted_at")
    )
    # Days are refreshed in order: when the last day was refreshed, so were the days before it.
    counted_last = counted_at[max(counted_at)] if counted_at else now
    refunded = _days_refunded_since(counted_last - MAX_TRANSACTION)
    for day in days:
        settled_at = _start_of(day) + timedelta(days=1) + FINAL_AFTER
        if day not in counted_at or counted_at[day] < settled_at or day in refunded:
            yield day


def _days_refunded_since(moment: datetime) -> set[date]:
    """The days of jobs that were refunded since the moment."""
    jobs = Job.objects.filter(refund_entry_id__gte=lowest_uuid7(moment))
    return {time_of_uuid7(id).date() for id in jobs.values_list("id", flat=True)}


@transaction.atomic(durable=True)
def _refresh_day(day: date, *, now: datetime) -> None:
    CountedDay.objects.get_or_create(date=day, defaults={"counted_at": now})
    counted = CountedDay.objects.select_for_update().get(date=day)
    began, ended = _start_of(day), _start_of(day + timedelta(days=1))
    ids: IdRange = {"first": lowest_uuid7(began), "before": lowest_uuid7(ended)}
    JobDay.objects.filter(day=counted).delete()
    JobDay.objects.bulk_create(_jobs(counted, **ids))
    CreditDay.objects.filter(day=counted).delete()
    CreditDay.objects.bulk_create(
        CreditDay(day=counted, flow=flow, credits=total)
        for flow, total in flows.credit_flows(**ids).items()
    )
    SaleDay.objects.filter(day=counted).delete()
    SaleDay.objects.bulk_create(_sales(counted, **ids))
    if now < ended:
        counted.held_bought, counted.held_given = flows.outstanding_credits()
    counted.counted_at = now
    counted.save(update_fields=["counted_at", "held_bought", "held_given"])


class IdRange(TypedDict):
    """The range of time-ordered ids of a day's rows."""

    first: UUID
    before: UUID


def _start_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _jobs(day: CountedDay, *, first: UUID, before: UUID) -> list[JobDay]:
    submissions = ProviderRequest.objects.filter(job=OuterRef("pk")).order_by()
    groups = (
        Job.objects.filter(id__gte=first, id__lt=before)
        .annotate(
            route=Subquery(submissions.order_by("-id").values("route_id")[:1]),
            cost=Subquery(submissions.values("job").annotate(usd=Sum("cost_usd")).values("usd")),
        )
        .values("model_id", "route", "status", "error_code")
        .annotate(
            jobs=Count("id"),
            kept=Sum(Case(When(refund_entry=None, then="credits"), default="fee_kept"), default=0),
            usd=Coalesce(Sum("cost"), Decimal(0), output_field=DecimalField()),
        )
        .order_by()
    )
    return [
        JobDay(
            day=day,
            model_id=group["model_id"],
            route_id=group["route"],
            status=group["status"],
            error_code=group["error_code"],
            jobs=group["jobs"],
            credits=group["kept"],
            cost_usd=group["usd"],
        )
        for group in groups
    ]


def _sales(day: CountedDay, *, first: UUID, before: UUID) -> list[SaleDay]:
    """Sales by currency. Family-shared purchases are left out: another Apple account paid."""
    bought = Purchase.objects.revenue().filter(id__gte=first, id__lt=before, is_family_shared=False)
    sums = bought.values_list("currency").annotate(Count("id"), Sum("price_milliunits", default=0))
    return [
        SaleDay(day=day, currency=currency, purchases=purchases, milliunits=milliunits)
        for currency, purchases, milliunits in sums.order_by()
    ]
