"""Job reports from the daily totals: numbers, outcomes, durations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time
from uuid import UUID

from django.db import connection

from adminops.models import JobDay
from adminops.reports import charts
from adminops.reports.charts import Chart
from adminops.reports.periods import Period
from generation.models import GenerationModel, JobStatus, ProviderRoute, RequestState

STATUS_COLOURS = {
    JobStatus.COMPLETED.value: "#16a34a",
    JobStatus.FAILED.value: "#dc2626",
    JobStatus.CANCELLED.value: "#d97706",
    JobStatus.PROCESSING.value: "#2563eb",
    JobStatus.PENDING.value: "#6b7280",
}
REFUNDED_STATUSES = {JobStatus.FAILED, JobStatus.CANCELLED}
# Latest results of each route that durations are computed from.
MAX_SAMPLES = 500


def daily_stats(period: Period) -> list[JobDay]:
    """The daily totals of jobs ordered in the period, oldest day first. One query."""
    return list(JobDay.objects.filter(day__gte=period.first).order_by("day"))


def labels() -> dict[UUID | None, str]:
    """Names of models and routes by id. Two queries."""
    labels: dict[UUID | None, str] = dict(GenerationModel.objects.values_list("id", "name"))
    labels.update((route.id, str(route)) for route in ProviderRoute.objects.all())
    labels[None] = "no route"
    return labels


def by_status(stats: Iterable[JobDay], period: Period) -> Chart:
    return charts.stacked_chart(
        title="Jobs by status",
        explanation="Number of jobs by order day and current status.",
        days=period.days,
        series=_jobs_by(lambda row: row.status, stats, list(STATUS_COLOURS)),
        colours=STATUS_COLOURS,
    )


def by_model(stats: Iterable[JobDay], period: Period, labels: dict[UUID | None, str]) -> Chart:
    stats = list(stats)
    total = Counter[str]()
    for row in stats:
        total[labels.get(row.model_id, "deleted")] += row.jobs
    return charts.stacked_chart(
        title="Jobs by model",
        explanation="Number of jobs by order day, the most ordered model first.",
        days=period.days,
        series=_jobs_by(
            lambda row: labels.get(row.model_id, "deleted"),
            stats,
            [name for name, _ in total.most_common()],
        ),
    )


def _jobs_by(
    name_of: Callable[[JobDay], str], stats: Iterable[JobDay], order: list[str]
) -> dict[str, charts.Series]:
    series: dict[str, Counter] = {name: Counter() for name in order}
    for row in stats:
        series[name_of(row)][row.day_id] += row.jobs
    return dict(series)


@dataclass(frozen=True)
class Outcomes:
    jobs: int
    ended: int
    refunded: int

    @property
    def refund_percent(self) -> float | None:
        """The share of ended jobs. None if no job has ended."""
        return 100 * self.refunded / self.ended if self.ended else None


def outcomes(stats: Iterable[JobDay]) -> Outcomes:
    by = Counter[str]()
    for row in stats:
        by[row.status] += row.jobs
    return Outcomes(
        jobs=by.total(),
        ended=sum(by[status] for status in JobStatus.terminal()),
        refunded=sum(by[status] for status in REFUNDED_STATUSES),
    )


def failures(stats: Iterable[JobDay]) -> list[tuple[str, int, float]]:
    """Error code, number of failed jobs and their percentage of all failures, the most frequent
    first."""
    by = Counter[str]()
    for row in stats:
        if row.status == JobStatus.FAILED:
            by[row.error_code] += row.jobs
    return [(code, jobs, 100 * jobs / by.total()) for code, jobs in by.most_common()]


@dataclass(frozen=True)
class RouteDuration:
    route_id: UUID
    videos: int
    median_seconds: float
    percentile_90_seconds: float


# Finds the latest results of each route by an index, their jobs by primary key.
_DURATIONS_SQL = """
SELECT route.id, count(*),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY took),
       percentile_cont(0.9) WITHIN GROUP (ORDER BY took)
FROM generation_route route
CROSS JOIN LATERAL (
    SELECT job_id FROM generation_providerrequest
    WHERE route_id = route.id AND state = %s AND ended_at >= %s
    ORDER BY ended_at DESC LIMIT %s
) made
CROSS JOIN LATERAL (
    SELECT extract(epoch FROM completed_at - created_at)::float AS took
    FROM generation_job WHERE id = made.job_id AND status = %s AND completed_at IS NOT NULL
) timed
GROUP BY route.id ORDER BY 3
"""


def durations(period: Period) -> list[RouteDuration]:
    """Seconds from the order to the stored video by route, the quickest first. One query."""
    since = datetime.combine(period.first, time(), UTC)
    with connection.cursor() as cursor:
        cursor.execute(
            _DURATIONS_SQL, [RequestState.FINISHED, since, MAX_SAMPLES, JobStatus.COMPLETED]
        )
        return [RouteDuration(*row) for row in cursor.fetchall()]
