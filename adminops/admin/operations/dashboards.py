"""The dashboards: the overview with jobs and status, and the finance page."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
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
from credits import ledger_check
from generation.catalogue import routing
from generation.models import Breaker, Maintenance, ProviderHealth
from rendio.common import clock
from rendio.common.errors import all_refusals

Table = dict[str, list[Any]]

ERROR_MESSAGES = {refusal.code: str(refusal.message) for refusal in all_refusals()}


def may_see_money(request: HttpRequest) -> bool:
    return request.user.has_perm(f"adminops.{SEE_MONEY}")


def overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The context of the overview, above the lists of the apps. Sections need permissions."""
    context |= {"title": "Overview"}
    read_at = clock.now()
    if request.user.has_perm("generation.view_job"):
        context |= _period(request, now=read_at) | {"facts": _status(request, read_at)}
        context |= _job_reports(context["period"])
    if request.user.has_perm("generation.view_providerhealth"):
        context |= {"providers": _provider_table(), "waiting": _queue_table(read_at)}
    return context


def money_page(request: HttpRequest) -> HttpResponse:
    if not may_see_money(request):
        raise PermissionDenied
    context = _period(request, now=clock.now())
    period = context["period"]
    context |= admin.site.each_context(request) | _finance_reports(period) | {"title": "Finance"}
    return TemplateResponse(request, "adminops/money.html", context)


def _period(request: HttpRequest, *, now: datetime) -> dict[str, Any]:
    period = periods.parse_period(request.GET.get("period", ""), now=now)
    return {
        "period": period,
        "lengths": list(periods.Length),
        "refreshed_at": periods.refreshed_at(period),
    }


# --- Current status -------------------------------------------------------------------------------


def _status(request: HttpRequest, read_at: datetime) -> list[tuple[str, Any, str]]:
    """Rows of (name, value, note)."""
    jobs, letters, last_check = (
        live.count_jobs(),
        live.count_open_dead_letters(),
        ledger_check.get_last_check(),
    )
    is_stopped = Maintenance.objects.filter(is_on=True).exists()
    checked = (
        f"last checked {last_check.checked_at:%Y-%m-%d %H:%M}" if last_check.checked_at else ""
    )
    return [
        ("Orders", badge("stopped", "danger") if is_stopped else badge("accepted", "success"), ""),
        (
            "Ledger",
            _ledger_badge(last_check.discrepancies, is_checked=bool(last_check.checked_at)),
            checked,
        ),
        ("Queued", f"{jobs.waiting:,}", "not submitted yet"),
        ("At providers", f"{jobs.at_providers:,}", ""),
        ("Storing", f"{jobs.storing:,}", ""),
        ("Dead letters", badge(letters, "danger") if letters else 0, "open"),
        *_approval_status(request),
        *_process_status(read_at),
    ]


def _approval_status(request: HttpRequest) -> list[tuple[str, Any, str]]:
    """The number of pending approvals, and the user's share of their own budget."""
    if not request.user.has_perm("adminops.view_pendingapproval"):
        return []
    waiting = approvals.count_pending()
    list_url = reverse("admin:adminops_pendingapproval_changelist")
    url = f"{list_url}?state__exact={ApprovalState.WAITING}"
    moved = budgets.get_usage(cast("User", request.user).id, now=clock.now()).moved
    limit = budgets.daily_budget()
    note = f"of {limit:,} credits in 24 hours" if limit else "credits in 24 hours"
    return [
        (
            "Pending approvals",
            badge(waiting, "warning") if waiting else 0,
            link(url, "Show"),
        ),
        ("Your budget used", f"{moved:,}", note),
    ]


def _ledger_badge(discrepancies: int, *, is_checked: bool) -> SafeString:
    if discrepancies:
        return badge(f"{discrepancies} discrepancies", "danger")
    return badge("balanced", "success") if is_checked else badge("not checked yet")


def _process_status(read_at: datetime) -> list[tuple[str, Any, str]]:
    return [
        (
            "Scheduler" if role == heartbeats.SCHEDULER else f"Workers ({role})",
            alive.count or badge("none", "danger"),
            "",
        )
        for role, alive in heartbeats.alive_counts(now=read_at).items()
    ]


def _provider_table() -> Table:
    calls = live.last_webhooks()
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
        "headers": [
            "Provider and key",
            "Circuit breaker",
            "Recent failures",
            "Last error",
            "Last webhook",
        ],
        "rows": rows,
    }


def _queue_table(read_at: datetime) -> Table:
    return {
        "headers": ["Queue", "Oldest due (seconds)"],
        "rows": [[one.what, f"{one.seconds:,.0f}"] for one in backlog.oldest_due(now=read_at)],
    }


def _at(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "never"


# --- Jobs -----------------------------------------------------------------------------------------


def _job_reports(period: Period) -> dict[str, Any]:
    stats, labels = job_reports.daily_stats(period), job_reports.labels()
    ended = job_reports.outcomes(stats)
    return {
        "charts": [
            job_reports.by_status(stats, period),
            job_reports.by_model(stats, period, labels),
        ],
        "ended": ended,
        "ended_text": f"Jobs ordered: {ended.jobs:,}. Ended: {ended.ended:,}.",
        "durations": {
            "headers": ["Route", "Videos", "Median (seconds)", "90th percentile (seconds)"],
            "rows": [
                [
                    labels.get(one.route_id, "deleted"),
                    one.videos,
                    f"{one.median_seconds:,.0f}",
                    f"{one.percentile_90_seconds:,.0f}",
                ]
                for one in job_reports.durations(period)
            ],
        },
        "max_samples": job_reports.MAX_SAMPLES,
        "failures": {
            "headers": ["Error code", "Message to users", "Jobs", "Share of failures"],
            "rows": [
                [code, ERROR_MESSAGES.get(code, ""), f"{jobs:,}", f"{percent:.1f} %"]
                for code, jobs, percent in job_reports.failures(stats)
            ],
        },
    }


# --- Finance --------------------------------------------------------------------------------------


def _finance_reports(period: Period) -> dict[str, Any]:
    stats, labels = job_reports.daily_stats(period), job_reports.labels()

    def model_and_route(row: JobDay) -> tuple[UUID, UUID | None]:
        return row.model_id, row.route_id

    return {
        "facts": _totals(stats),
        "credit_usd": routing.revenue_usd(1),
        "charts": [finance.margin_chart(stats, period, labels), finance.credit_flows(period)],
        "sales": {
            "headers": ["Currency", "Purchases", "Paid"],
            "rows": [
                [one.currency or "unknown", f"{one.purchases:,}", f"{one.amount:,.2f}"]
                for one in finance.sales(period)
            ],
        },
        "margins": _margin_table(
            ["Model", "Route"],
            {
                (labels.get(model, "deleted"), labels.get(route, "deleted")): margin
                for (model, route), margin in finance.margins(stats, model_and_route).items()
            },
        ),
        "margins_by_day": _margin_table(
            ["Day", "Model", "Route"],
            {
                (
                    f"{day:%Y-%m-%d}",
                    labels.get(model, "deleted"),
                    labels.get(route, "deleted"),
                ): margin
                for (day, (model, route)), margin in _newest_first(
                    finance.margins(stats, lambda row: (row.day_id, model_and_route(row)))
                )
            },
        ),
    }


def _totals(stats: list[JobDay]) -> list[tuple[str, Any, str]]:
    whole, held = finance.total_margin(stats), finance.outstanding()
    sums: list[tuple[str, Any, str]] = [
        ("Revenue", _dollars(whole.revenue_usd), f"{whole.credits:,} credits spent on jobs"),
        ("Provider cost", _dollars(whole.cost_usd), "of all ended jobs"),
        ("Margin", badge(_dollars(whole.usd), _margin_colour(whole)), _percent(whole)),
    ]
    if held:
        sums += [
            (
                "Outstanding purchased credits",
                f"{held.bought:,} credits",
                f"liability of {_dollars(held.bought_usd)} after commission",
            ),
            ("Outstanding free credits", f"{held.given:,} credits", ""),
        ]
    return sums


def _margin_colour(margin: Margin) -> str:
    return "danger" if margin.is_below_cost else "success"


def _percent(margin: Margin) -> str:
    return "" if margin.percent is None else f"{margin.percent:.0f} %"


def _newest_first(margins: dict[Any, Margin]) -> list[tuple[Any, Margin]]:
    return sorted(margins.items(), key=lambda item: item[0][0], reverse=True)


def _margin_table(keys: list[str], margins: dict[tuple[str, ...], Margin]) -> Table:
    return {
        "headers": [
            *keys,
            "Completed",
            "Credits",
            "Revenue ($)",
            "Cost ($)",
            "Margin ($)",
            "Margin (%)",
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
