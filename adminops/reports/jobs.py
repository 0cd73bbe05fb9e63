"""Jobs, as they were counted by days: how many, how they ended, how long they took."""

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
from generation.models import JobStatus, Model, RequestState, Route

STATUS_COLOURS = {
    JobStatus.COMPLETED.value: "#16a34a",
    JobStatus.FAILED.value: "#dc2626",
    JobStatus.CANCELLED.value: "#d97706",
    JobStatus.PROCESSING.value: "#2563eb",
    JobStatus.PENDING.value: "#6b7280",
}
GAVE_BACK = {JobStatus.FAILED, JobStatus.CANCELLED}
# Of each route's last results in the period, at most.
TIMED = 500


def ways_of(period: Period) -> list[JobDay]:
    """How the jobs ordered in a period went, a row for each way and day. One query."""
    return list(JobDay.objects.filter(day__gte=period.first).order_by("day"))


def names() -> dict[UUID | None, str]:
    """What models and routes are called, by their ids. Two queries."""
    named: dict[UUID | None, str] = dict(Model.objects.values_list("id", "name"))
    named.update((route.id, str(route)) for route in Route.objects.all())
    named[None] = "no route"
    return named


def by_status(ways: Iterable[JobDay], period: Period) -> Chart:
    return charts.stacked(
        title="Jobs by state",
        explanation="Jobs, by the day of their order and by what has become of them.",
        days=period.days,
        series=_jobs_by(lambda way: way.status, ways, list(STATUS_COLOURS)),
        colours=STATUS_COLOURS,
    )


def by_model(ways: Iterable[JobDay], period: Period, named: dict[UUID | None, str]) -> Chart:
    ways = list(ways)
    total = Counter[str]()
    for way in ways:
        total[named.get(way.model_id, "gone")] += way.jobs
    return charts.stacked(
        title="Jobs by model",
        explanation="Jobs, by the day of their order; the model most asked for first.",
        days=period.days,
        series=_jobs_by(
            lambda way: named.get(way.model_id, "gone"),
            ways,
            [name for name, _ in total.most_common()],
        ),
    )


def _jobs_by(
    name_of: Callable[[JobDay], str], ways: Iterable[JobDay], order: list[str]
) -> dict[str, charts.Numbers]:
    series: dict[str, Counter] = {name: Counter() for name in order}
    for way in ways:
        series[name_of(way)][way.day_id] += way.jobs
    return dict(series)


@dataclass(frozen=True)
class Ended:
    jobs: int
    ended: int
    gave_back: int

    @property
    def refund_percent(self) -> float | None:
        """Of those that ended; None before one has."""
        return 100 * self.gave_back / self.ended if self.ended else None


def ends(ways: Iterable[JobDay]) -> Ended:
    by = Counter[str]()
    for way in ways:
        by[way.status] += way.jobs
    return Ended(
        jobs=by.total(),
        ended=sum(by[status] for status in JobStatus.terminal()),
        gave_back=sum(by[status] for status in GAVE_BACK),
    )


def failures(ways: Iterable[JobDay]) -> list[tuple[str, int, float]]:
    """Codes of the error catalogue, with how many jobs failed so and their percentage of all that
    failed; the most frequent first."""
    by = Counter[str]()
    for way in ways:
        if way.status == JobStatus.FAILED:
            by[way.error_code] += way.jobs
    return [(code, jobs, 100 * jobs / by.total()) for code, jobs in by.most_common()]


@dataclass(frozen=True)
class Took:
    route_id: UUID
    videos: int
    median_seconds: float
    percentile_90_seconds: float


# Each route's last results come by an index; their jobs by primary key.
_TOOK = """
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


def took(period: Period) -> list[Took]:
    """From an order to its video, by the route that made it, the quickest first. One query."""
    since = datetime.combine(period.first, time(), UTC)
    with connection.cursor() as cursor:
        cursor.execute(_TOOK, [RequestState.FINISHED, since, TIMED, JobStatus.COMPLETED])
        return [Took(*row) for row in cursor.fetchall()]
