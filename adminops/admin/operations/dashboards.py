"""The dashboards: work on the admin's first page, money on a page for who may see it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.urls.resolvers import URLPattern
from django.utils.safestring import SafeString

from accounts.models import User
from adminops.actions import approvals, budgets
from adminops.admin.base import badge, link, link_to
from adminops.admin.operations.service_health import BREAKER_COLOURS
from adminops.models import SEE_MONEY, ApprovalState, JobDay
from adminops.monitoring import backlog, heartbeats
from adminops.reports import finance, live, periods
from adminops.reports import jobs as job_reports
from adminops.reports.finance import Margin
from adminops.reports.periods import Period
from credits import queries as credit_queries
from generation.catalogue import routing
from generation.models import Breaker, Maintenance, ProviderHealth
from rendio.common import clock
from rendio.common.errors import all_refusals

Table = dict[str, list[Any]]

MEANINGS = {refusal.code: str(refusal.message) for refusal in all_refusals()}


def urls() -> list[URLPattern]:
    return [path("money/", admin.site.admin_view(money_page), name="money")]


def may_see_money(request: HttpRequest) -> bool:
    return request.user.has_perm(f"adminops.{SEE_MONEY}")


def first_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What stands above the lists of the apps, as far as one may look at it."""
    context |= {"title": "Overview"}
    read_at = clock.now()
    if request.user.has_perm("generation.view_job"):
        context |= _period(request, now=read_at) | {"facts": _facts(request, read_at)}
        context |= _work(context["period"])
    if request.user.has_perm("generation.view_providerhealth"):
        context |= {"providers": _providers(), "waiting": _waiting(read_at)}
    return context


def money_page(request: HttpRequest) -> HttpResponse:
    if not may_see_money(request):
        raise PermissionDenied
    context = _period(request, now=clock.now())
    period = context["period"]
    context |= admin.site.each_context(request) | _money(period) | {"title": "Money"}
    return TemplateResponse(request, "adminops/money.html", context)


def _period(request: HttpRequest, *, now: datetime) -> dict[str, Any]:
    period = periods.read(request.GET.get("period", ""), now=now)
    return {
        "period": period,
        "lengths": list(periods.Length),
        "counted_at": periods.counted_at(period),
    }


# --- How it is now --------------------------------------------------------------------------------


def _facts(request: HttpRequest, read_at: datetime) -> list[tuple[str, Any, str]]:
    """What it is called, how it is, and a few words about it."""
    jobs, letters, proof = live.jobs(), live.open_letters(), credit_queries.last_proof()
    is_shut = Maintenance.objects.filter(is_on=True).exists()
    proved = f"last proved {proof.looked_at:%Y-%m-%d %H:%M}" if proof.looked_at else ""
    return [
        ("Orders", badge("stopped", "danger") if is_shut else badge("taken", "success"), ""),
        ("Ledger", _ledger(proof.differences, is_proved=bool(proof.looked_at)), proved),
        ("Jobs that wait", f"{jobs.waiting:,}", "no provider has them yet"),
        ("Jobs at providers", f"{jobs.at_providers:,}", ""),
        ("Videos being stored", f"{jobs.storing:,}", ""),
        ("Dead letters", badge(letters, "danger") if letters else 0, "open"),
        *_approvals(request),
        *_processes(read_at),
    ]


def _approvals(request: HttpRequest) -> list[tuple[str, Any, str]]:
    """What waits for a second person, and how much of their own budget this one has used."""
    if not request.user.has_perm("adminops.view_pendingapproval"):
        return []
    waiting = approvals.waiting()
    list_url = reverse("admin:adminops_pendingapproval_changelist")
    url = f"{list_url}?state__exact={ApprovalState.WAITING}"
    moved = budgets.used_by(cast("User", request.user).id, now=clock.now()).moved
    most = budgets.daily_budget()
    of_budget = f"of {most:,} credits in 24 hours" if most else "credits in 24 hours"
    return [
        (
            "Pending approvals",
            badge(waiting, "warning") if waiting else 0,
            link(url, "Look at them"),
        ),
        ("Moved by you", f"{moved:,}", of_budget),
    ]


def _ledger(differences: int, *, is_proved: bool) -> SafeString:
    if differences:
        return badge(f"{differences} differences", "danger")
    return badge("adds up", "success") if is_proved else badge("not proved yet")


def _processes(read_at: datetime) -> list[tuple[str, Any, str]]:
    return [
        (
            "Scheduler" if role == heartbeats.SCHEDULER else f"Workers of {role}",
            alive.count or badge("none", "danger"),
            "",
        )
        for role, alive in heartbeats.alive_counts(now=read_at).items()
    ]


def _providers() -> Table:
    calls = live.last_calls()
    known = list(ProviderHealth.objects.order_by("provider", "key_label"))
    rows = [
        [
            link_to(health, f"{health.provider} {health.key_label}"),
            badge(Breaker(health.state).label, BREAKER_COLOURS[Breaker(health.state)]),
            health.failures,
            health.last_error,
            _at(calls.get(health.provider)),
        ]
        for health in known
    ]
    others = calls.keys() - {health.provider for health in known}
    rows += [[name, "", "", "", _at(calls[name])] for name in sorted(others)]
    return {
        "headers": ["Provider and key", "Breaker", "Failures lately", "Last error", "Last webhook"],
        "rows": rows,
    }


def _waiting(read_at: datetime) -> Table:
    return {
        "headers": ["Work that is due", "Oldest since, seconds"],
        "rows": [[one.what, f"{one.seconds:,.0f}"] for one in backlog.oldest_due(now=read_at)],
    }


def _at(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "never"


# --- Work -----------------------------------------------------------------------------------------


def _work(period: Period) -> dict[str, Any]:
    ways, named = job_reports.ways_of(period), job_reports.names()
    ended = job_reports.ends(ways)
    return {
        "charts": [job_reports.by_status(ways, period), job_reports.by_model(ways, period, named)],
        "ended": ended,
        "ended_in_words": (
            f"{ended.jobs:,} job{'' if ended.jobs == 1 else 's'} ordered,"
            f" {ended.ended:,} of them ended."
        ),
        "took": {
            "headers": ["Route", "Videos", "Median, seconds", "90th percentile, seconds"],
            "rows": [
                [
                    named.get(one.route_id, "gone"),
                    one.videos,
                    f"{one.median_seconds:,.0f}",
                    f"{one.percentile_90_seconds:,.0f}",
                ]
                for one in job_reports.took(period)
            ],
        },
        "timed": job_reports.TIMED,
        "failures": {
            "headers": ["Why jobs failed", "What users read", "Jobs", "Of all failed"],
            "rows": [
                [code, MEANINGS.get(code, ""), f"{jobs:,}", f"{percent:.1f} %"]
                for code, jobs, percent in job_reports.failures(ways)
            ],
        },
    }


# --- Money ----------------------------------------------------------------------------------------


def _money(period: Period) -> dict[str, Any]:
    ways, named = job_reports.ways_of(period), job_reports.names()

    def model_and_route(way: JobDay) -> tuple[UUID, UUID | None]:
        return way.model_id, way.route_id

    return {
        "facts": _sums(ways),
        "credit_usd": routing.revenue_usd(1),
        "charts": [finance.margin_chart(ways, period, named), finance.flows(period)],
        "sales": {
            "headers": ["Currency", "Purchases", "Paid"],
            "rows": [
                [one.currency or "not told", f"{one.purchases:,}", f"{one.amount:,.2f}"]
                for one in finance.sales(period)
            ],
        },
        "margins": _margins(
            ["Model", "Route"],
            {
                (named.get(model, "gone"), named.get(route, "gone")): margin
                for (model, route), margin in finance.margins(ways, model_and_route).items()
            },
        ),
        "margins_by_day": _margins(
            ["Day", "Model", "Route"],
            {
                (f"{day:%Y-%m-%d}", named.get(model, "gone"), named.get(route, "gone")): margin
                for (day, (model, route)), margin in _newest_first(
                    finance.margins(ways, lambda way: (way.day_id, model_and_route(way)))
                )
            },
        ),
    }


def _sums(ways: list[JobDay]) -> list[tuple[str, Any, str]]:
    whole, held = finance.margin_of(ways), finance.outstanding()
    sums: list[tuple[str, Any, str]] = [
        ("Revenue", _dollars(whole.revenue_usd), f"{whole.credits:,} credits that jobs kept"),
        ("Provider cost", _dollars(whole.cost_usd), "of all jobs that have ended"),
        ("Margin", badge(_dollars(whole.usd), _colour(whole)), _percent(whole)),
    ]
    if held:
        sums += [
            (
                "Liability outstanding",
                f"{held.bought:,} credits",
                f"bought and not spent yet, {_dollars(held.bought_usd)} after commission",
            ),
            ("Given and not spent yet", f"{held.given:,} credits", "free ones, now"),
        ]
    return sums


def _colour(margin: Margin) -> str:
    return "danger" if margin.is_below_cost else "success"


def _percent(margin: Margin) -> str:
    return "" if margin.percent is None else f"{margin.percent:.0f} %"


def _newest_first(margins: dict[Any, Margin]) -> list[tuple[Any, Margin]]:
    return sorted(margins.items(), key=lambda item: item[0][0], reverse=True)


def _margins(keys: list[str], margins: dict[tuple[str, ...], Margin]) -> Table:
    return {
        "headers": [
            *keys,
            "Completed",
            "Credits",
            "Revenue, $",
            "Cost, $",
            "Margin, $",
            "Margin",
            "",
        ],
        "rows": [
            [
                *key,
                f"{one.completed:,}",
                f"{one.credits:,}",
                _usd(one.revenue_usd),
                _usd(one.cost_usd),
                _usd(one.usd),
                _percent(one),
                badge("below cost", "danger") if one.is_below_cost else "",
            ]
            for key, one in margins.items()
        ],
    }


def _usd(amount: Decimal) -> str:
    return f"{amount:,.2f}"


def _dollars(amount: Decimal) -> str:
    return f"-${_usd(-amount)}" if amount < 0 else f"${_usd(amount)}"
