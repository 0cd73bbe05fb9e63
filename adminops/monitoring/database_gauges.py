"""Gauges for /metrics that are read from the database.

Every web process exports the same values, so a dashboard takes the maximum. A request reads them by
a few indexed queries; the values are cached for KEPT_SECONDS.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import structlog
from django.db import Error as DatabaseFailure
from django.db.models import Count
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from accounts.push import outbox
from adminops.monitoring import backlog, heartbeats
from billing import queries as billing_queries
from credits import ledger_check
from generation import spend
from generation.models import (
    Breaker,
    DeadLetter,
    DeadState,
    Job,
    Maintenance,
    ProviderHealth,
    Stage,
)
from rendio.common import clock
from rendio.common.ttl_cache import ttl_cache

logger = structlog.get_logger(__name__)

KEPT_SECONDS = 5
Samples = Iterable[tuple[list[str], float]]


class Gauges(Collector):
    def collect(self) -> list[Metric]:
        return _read()

    def describe(self) -> list[Metric]:
        """Registration reads nothing."""
        return []


@ttl_cache(lambda: KEPT_SECONDS)
def _read() -> list[Metric]:
    up = GaugeMetricFamily("rendio_database_up", "Whether the database answered.")
    try:
        found = list(_gauges(clock.now()))
    except DatabaseFailure as error:
        logger.warning("gauges_not_read", error=type(error).__name__)
        up.add_metric([], 0)
        return [up]
    up.add_metric([], 1)
    return [up, *found]


def _gauges(now: datetime) -> Iterator[Metric]:
    yield _gauge("jobs", "Jobs that have not ended.", ["queue", "stage"], _jobs())
    yield _gauge(
        "due_seconds",
        "Seconds since the oldest due row of a kind became due.",
        ["what"],
        (([one.what], one.seconds) for one in backlog.oldest_due(now=now)),
    )
    yield _gauge(
        "alive",
        "Workers of a queue, and schedulers, with a recent heartbeat.",
        ["role"],
        (([role], one.count) for role, one in heartbeats.alive_counts(now=now).items()),
    )
    yield _gauge(
        "clock_skew_seconds",
        "A process's clock minus PostgreSQL's, in seconds.",
        ["process"],
        (([process], seconds) for process, seconds in heartbeats.skews(now=now).items()),
    )
    yield _gauge(
        "breaker_open",
        "State of the circuit breaker of a provider's key: 1 open, 0.5 half open, 0 closed.",
        ["provider", "key"],
        (
            ([row.provider, row.key_label], OPENNESS[Breaker(row.state)])
            for row in ProviderHealth.objects.all()
        ),
    )
    yield _gauge("dead_letters", "Open dead letters.", ["kind"], _dead_letters())
    yield _gauge("maintenance", "Whether new orders are stopped.", [], _maintenance())
    yield _gauge(
        "provider_spend_usd",
        "Cost of a provider in the current day or month.",
        ["provider", "period"],
        (([*of], float(usd)) for of, usd in spend.spent_usd(now=now).items()),
    )
    yield _gauge(
        "provider_spend_cap_usd",
        "Spend cap of a provider in the current day or month.",
        ["provider", "period"],
        (([one.provider, one.period], float(one.cap_usd)) for one in spend.cap_statuses(now=now)),
    )
    yield _gauge(
        "pushes_held",
        "Pushes that wait because Apple rejects our key.",
        [],
        [([], outbox.count_blocked())],
    )
    yield _gauge(
        "unreadable_payloads",
        "Open unreadable payloads from Apple.",
        [],
        [([], billing_queries.count_unreadable())],
    )
    last_check = ledger_check.get_last_check()
    yield _gauge(
        "ledger_differences",
        "Discrepancies that the last ledger check found.",
        [],
        [([], last_check.discrepancies)],
    )
    yield _gauge(
        "ledger_proved_timestamp_seconds",
        "Time of the last ledger check without discrepancies; 0: none yet.",
        [],
        [([], last_check.balanced_at.timestamp() if last_check.balanced_at else 0)],
    )


OPENNESS = {Breaker.CLOSED: 0.0, Breaker.HALF_OPEN: 0.5, Breaker.OPEN: 1.0}


def _gauge(name: str, documentation: str, labels: list[str], samples: Samples) -> Metric:
    gauge = GaugeMetricFamily(f"rendio_{name}", documentation, labels=labels)
    for values, number in samples:
        gauge.add_metric(values, number)
    return gauge


def _jobs() -> Samples:
    """Uses the index of jobs that are not done."""
    counted = Job.objects.exclude(stage=Stage.DONE).values_list("queue", "stage")
    return [([queue, stage], n) for queue, stage, n in counted.annotate(n=Count("id")).order_by()]


def _dead_letters() -> Samples:
    open_letters = DeadLetter.objects.filter(state=DeadState.OPEN).values_list("kind")
    return [([kind], count) for kind, count in open_letters.annotate(n=Count("id")).order_by()]


def _maintenance() -> Samples:
    return [([], float(Maintenance.objects.filter(is_on=True).exists()))]
