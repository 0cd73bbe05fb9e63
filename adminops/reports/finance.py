"""Finance reports from the daily totals: credit flows, sales, margins.

The revenue of a credit is its price less the store's commission (`generation.catalogue.routing`),
for purchased and free credits alike. Sales are the amounts that customers paid, by currency.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Sum

from adminops.models import CountedDay, CreditDay, JobDay, SaleDay
from adminops.reports import charts
from adminops.reports.charts import Chart
from adminops.reports.periods import Period
from credits.flows import Flow
from generation.catalogue import routing
from generation.models import JobStatus

FLOW_COLOURS = {
    Flow.SOLD.value: "#16a34a",
    Flow.GRANTED.value: "#0891b2",
    Flow.TESTED.value: "#6b7280",
    Flow.REFUNDED.value: "#d97706",
    Flow.ADJUSTED.value: "#9333ea",
    Flow.SPENT.value: "#2563eb",
    Flow.EXPIRED.value: "#db2777",
    Flow.CLAWED_BACK.value: "#dc2626",
}


def credit_flows(period: Period) -> Chart:
    """The chart of credits by flow. One query."""
    series: dict[str, Counter] = {flow: Counter() for flow in FLOW_COLOURS}
    for moved in CreditDay.objects.filter(day__gte=period.first):
        series[moved.flow][moved.day_id] += moved.credits
    return charts.stacked_chart(
        title="Credit flows",
        explanation="Credits added to wallets above the line, removed from wallets below it.",
        days=period.days,
        series=dict(series),
        colours=FLOW_COLOURS,
    )


@dataclass(frozen=True)
class Outstanding:
    """Unspent credits in all wallets."""

    bought: int
    given: int

    @property
    def bought_usd(self) -> Decimal:
        """The revenue of the purchased credits, after the store's commission."""
        return routing.revenue_usd(self.bought)


def outstanding() -> Outstanding | None:
    """The latest total. None before the first refresh. One query."""
    day = CountedDay.objects.exclude(held_bought=None).order_by("date").last()
    return Outstanding(day.held_bought or 0, day.held_given or 0) if day else None


@dataclass(frozen=True)
class Sales:
    currency: str
    purchases: int
    amount: Decimal  # in that currency


def sales(period: Period) -> list[Sales]:
    """Sales by currency, the most purchases first. One query."""
    sums = SaleDay.objects.filter(day__gte=period.first).values_list("currency")
    found = sums.annotate(count=Sum("purchases"), units=Sum("milliunits")).order_by("-count")
    return [Sales(currency, count, Decimal(units) / 1000) for currency, count, units in found]


@dataclass(frozen=True)
class Margin:
    """Revenue and cost of ended jobs, in dollars."""

    completed: int
    credits: int  # charged for completed jobs, and fees of cancelled and failed jobs
    revenue_usd: Decimal
    cost_usd: Decimal

    @property
    def usd(self) -> Decimal:
        return self.revenue_usd - self.cost_usd

    @property
    def percent(self) -> Decimal | None:
        """The share of the revenue. None without revenue."""
        return 100 * self.usd / self.revenue_usd if self.revenue_usd else None

    @property
    def is_below_cost(self) -> bool:
        return self.usd < 0


def margins(stats: Iterable[JobDay], by: Callable[[JobDay], Any]) -> dict[Any, Margin]:
    """Margins of ended jobs, grouped by the key `by`, the lowest margin first."""
    grouped: dict[Any, list[JobDay]] = defaultdict(list)
    for row in stats:
        if row.status in JobStatus.terminal():
            grouped[by(row)].append(row)
    found = {key: total_margin(group) for key, group in grouped.items()}
    return dict(sorted(found.items(), key=lambda item: item[1].usd))


def total_margin(stats: Iterable[JobDay]) -> Margin:
    ended = [row for row in stats if row.status in JobStatus.terminal()]
    completed = [row for row in ended if row.status == JobStatus.COMPLETED]
    credits = sum(row.credits for row in ended)
    return Margin(
        completed=sum(row.jobs for row in completed),
        credits=credits,
        revenue_usd=routing.revenue_usd(credits),
        cost_usd=sum((row.cost_usd for row in ended), Decimal(0)),
    )


def margin_chart(stats: Iterable[JobDay], period: Period, labels: dict[UUID | None, str]) -> Chart:
    by = margins(stats, lambda row: (labels.get(row.model_id, "deleted"), row.day_id))
    series: dict[str, dict[date, float]] = defaultdict(dict)
    for (model, day), margin in by.items():
        series[model][day] = float(margin.usd)
    return charts.stacked_chart(
        title="Margin by model",
        explanation="Dollars by order day: revenue of ended jobs, fees included, less their "
        "provider cost. Below the line: sold below cost.",
        days=period.days,
        series=dict(sorted(series.items())),
        number_format="{:,.2f}",
    )
