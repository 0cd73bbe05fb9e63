"""Counting what happened, day by day.

Late is harmless, twice is harmless: a day is counted anew as a whole, under its row's lock. A job
may change for some hours after its order, and a day may have been missed: so a day is counted until
that was done once more than SETTLED after its end, and again when a job of it is refunded later.
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
from rendio.common.due import run_all
from rendio.common.ids import lowest_uuid7, moment_of

FINAL_AFTER = timedelta(days=1)
# From the making of a refund's id to its commit, which the next count sees.
MAX_TRANSACTION = timedelta(minutes=5)
# The longest period that a dashboard shows.
DAYS = 31


def refresh(*, now: datetime) -> None:
    """Count the days that are not settled, today last. Each in a transaction of its own; a day that
    cannot be counted keeps back none of the others, and is raised after them."""
    run_all(*(partial(_refresh_day, day, now=now) for day in _days_to_refresh(now)))


def _days_to_refresh(now: datetime) -> Iterator[date]:
    today = now.astimezone(UTC).date()
    days = [today - timedelta(days=back) for back in reversed(range(DAYS))]
    counted_at = dict(
        CountedDay.objects.filter(date__gte=days[0]).values_list("date", "counted_at")
    )
    # The days are counted one after the other: whoever counted the last had counted the others.
    counted_last = counted_at[max(counted_at)] if counted_at else now
    refunded = _days_refunded_since(counted_last - MAX_TRANSACTION)
    for day in days:
        settled_at = _start_of(day) + timedelta(days=1) + FINAL_AFTER
        if day not in counted_at or counted_at[day] < settled_at or day in refunded:
            yield day


def _days_refunded_since(moment: datetime) -> set[date]:
    """The days of the jobs whose credits have been given back since then."""
    jobs = Job.objects.filter(refund_entry_id__gte=lowest_uuid7(moment))
    return {moment_of(id).date() for id in jobs.values_list("id", flat=True)}


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
    """Rows of a day have time-ordered ids between these."""

    first: UUID
    before: UUID


def _start_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _jobs(day: CountedDay, *, first: UUID, before: UUID) -> list[JobDay]:
    submissions = ProviderRequest.objects.filter(job=OuterRef("pk")).order_by()
    ways = (
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
            model_id=way["model_id"],
            route_id=way["route"],
            status=way["status"],
            error_code=way["error_code"],
            jobs=way["jobs"],
            credits=way["kept"],
            cost_usd=way["usd"],
        )
        for way in ways
    ]


def _sales(day: CountedDay, *, first: UUID, before: UUID) -> list[SaleDay]:
    """What a family shares was paid for elsewhere."""
    bought = Purchase.objects.revenue().filter(id__gte=first, id__lt=before, is_family_shared=False)
    sums = bought.values_list("currency").annotate(Count("id"), Sum("price_milliunits", default=0))
    return [
        SaleDay(day=day, currency=currency, purchases=purchases, milliunits=milliunits)
        for currency, purchases, milliunits in sums.order_by()
    ]
