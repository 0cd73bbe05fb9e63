"""Spend at providers, and the caps on it: for each provider by day and by month, in UTC.

`SpendDay` has the daily rollup (`rollup_daily_spend`). Submissions since then are added at
each read, so the spend is exact for the scheduler, which holds the lock of the health rows. The
spend may exceed a cap by the cost of one job, and by charges above the cost that a route states.
Costs without a submission are added to the day by `book`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum

from django.conf import settings
from django.db.models import F, Max, Q, Sum
from django.db.models.functions import TruncDate

from generation.models import ProviderRequest, SpendDay

# A submission is committed at most this long after its `sent_at`.
RECORDING_DELAY = timedelta(seconds=30)
# How often all submissions of yesterday and today are counted.
RECOUNT_PERIOD = timedelta(hours=1)
# Of days to which only `book` adds: no submission is in them.
NOTHING_COUNTED = datetime(1970, 1, 1, tzinfo=UTC)
COST_STEP_USD = Decimal("0.0001")


class Period(StrEnum):
    DAY = "day"
    MONTH = "month"

    def began_at(self, now: datetime) -> datetime:
        day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return day if self == Period.DAY else day.replace(day=1)

    def ends_at(self, now: datetime) -> datetime:
        began = self.began_at(now)
        if self == Period.DAY:
            return began + timedelta(days=1)
        return (began + timedelta(days=32)).replace(day=1)


@dataclass(frozen=True)
class CapStatus:
    """A provider's cap and spend for the current period, in US dollars."""

    provider: str
    period: Period
    cap_usd: Decimal
    spent_usd: Decimal

    @property
    def remaining_usd(self) -> Decimal:
        return self.cap_usd - self.spent_usd


def cap_statuses(*, now: datetime) -> list[CapStatus]:
    """One for each cap that the settings name. No query where they name none."""
    caps = [
        (provider, Period(period), cap_usd)
        for period, caps in settings.PROVIDER_SPEND_CAPS.items()
        for provider, cap_usd in caps.items()
    ]
    spent = spent_usd(now=now) if caps else {}
    return [
        CapStatus(provider, period, cap_usd, spent.get((provider, period), Decimal(0)))
        for provider, period, cap_usd in caps
    ]


def remaining_usd(*, now: datetime) -> dict[str, Decimal]:
    """Spend left at each provider with a cap, by provider name."""
    left: dict[str, Decimal] = {}
    for one in cap_statuses(now=now):
        left[one.provider] = min(one.remaining_usd, left.get(one.provider, one.remaining_usd))
    return left


def capped_until(*, now: datetime) -> dict[str, datetime]:
    """Providers that have reached a cap, with the end of the longest reached period."""
    shut: dict[str, datetime] = {}
    for one in cap_statuses(now=now):
        if one.remaining_usd <= 0:
            ends_at = one.period.ends_at(now)
            shut[one.provider] = max(ends_at, shut.get(one.provider, ends_at))
    return shut


def spent_usd(*, now: datetime) -> dict[tuple[str, Period], Decimal]:
    """Spend by provider for the current day and month. Three queries."""
    month_began, day_began = Period.MONTH.began_at(now), Period.DAY.began_at(now)
    counted_until = SpendDay.objects.aggregate(until=Max("counted_until"))["until"] or month_began
    spent: dict[tuple[str, Period], Decimal] = {}

    def add(provider: str, period: Period, usd: Decimal | None) -> None:
        spent[provider, period] = spent.get((provider, period), Decimal(0)) + (usd or 0)

    counted = SpendDay.objects.filter(date__gte=month_began.date()).values_list("provider")
    since = ProviderRequest.objects.filter(sent_at__gte=max(counted_until, month_began))
    for rows, column, today in (
        (counted, "usd", Q(date=day_began.date())),
        (since.values_list("provider"), "cost_usd", Q(sent_at__gte=day_began)),
    ):
        summed = rows.annotate(month=Sum(column), day=Sum(column, filter=today)).order_by()
        for provider, month, day in summed:
            add(provider, Period.MONTH, month)
            add(provider, Period.DAY, day)
    return spent


def book(provider: str, usd: Decimal, *, now: datetime) -> None:
    """Add a cost that has no submission to today's spend of a provider that has no submissions at
    all. A negative cost corrects an earlier one. Rounded up to COST_STEP_USD."""
    day, _ = SpendDay.objects.get_or_create(
        provider=provider,
        date=now.astimezone(UTC).date(),
        defaults={"usd": Decimal(0), "counted_until": NOTHING_COUNTED},
    )
    cost = usd.quantize(COST_STEP_USD, rounding=ROUND_CEILING)
    SpendDay.objects.filter(id=day.id).update(usd=F("usd") + cost)


def rollup_daily_spend(*, now: datetime) -> None:
    """Write the spend of yesterday and today, so that the spend of a month is a sum of few rows.

    May run late or twice. The cost of a submission may change until the submission ends, for some
    hours: submissions of the last RECOUNT_PERIOD, or two, are counted at each run, the older ones
    once in a RECOUNT_PERIOD. Earlier days stay.
    """
    until = now - RECORDING_DELAY
    began = Period.DAY.began_at(until) - timedelta(days=1)
    days = SpendDay.objects.filter(date__gte=began.date()).exclude(older_until=None)
    older_until = max((day.older_until for day in days if day.older_until), default=began)
    if older_until >= until - 2 * RECOUNT_PERIOD:
        older = {
            (day.provider, day.date): day.older_usd
            for day in days
            if day.older_until == older_until
        }
    else:
        older_until = until - RECOUNT_PERIOD
        older = _costs_usd(began, older_until)
    recent = _costs_usd(older_until, until)
    SpendDay.objects.bulk_create(
        [
            SpendDay(
                provider=provider,
                date=date,
                usd=older.get((provider, date), 0) + recent.get((provider, date), 0),
                counted_until=until,
                older_usd=older.get((provider, date), 0),
                older_until=older_until,
            )
            for provider, date in older | recent
        ],
        update_conflicts=True,
        unique_fields=["provider", "date"],
        update_fields=["usd", "counted_until", "older_usd", "older_until"],
    )


def _costs_usd(since: datetime, until: datetime) -> dict[tuple[str, date], Decimal]:
    """Costs of the submissions in this time, by provider and day."""
    costs = (
        ProviderRequest.objects.filter(sent_at__gte=since, sent_at__lt=until)
        .values_list("provider", TruncDate("sent_at"))
        .annotate(Sum("cost_usd"))
        .order_by()
    )
    return {(provider, day): usd for provider, day, usd in costs}
