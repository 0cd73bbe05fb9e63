"""Watching the service: late is harmless, twice is harmless."""

from __future__ import annotations

from functools import partial

from celery import shared_task

from adminops.actions import incidents
from adminops.auth import login
from adminops.monitoring import alerts, error_log, heartbeats
from adminops.reports import daily_rollups as day_counting
from generation.lifecycle import counting
from rendio.common import clock, purge
from rendio.common.due import drain, run_all


@shared_task(name="adminops.monitoring")
def watch() -> None:
    now = clock.now()
    run_all(
        *(
            partial(step, now=now)
            for step in (counting.rollup_daily_spend, alerts.look, alerts.send_due)
        )
    )


@shared_task(name="adminops.work_on_incidents")
def work_on_incidents() -> None:
    drain(lambda: incidents.work_due(now=clock.now()), batch=incidents.BATCH)


@shared_task(name="adminops.count_days", time_limit=1800)
def count_days() -> None:
    day_counting.refresh(now=clock.now())


@shared_task(name="adminops.sweep")
def sweep() -> None:
    now = clock.now()
    run_all(
        lambda: heartbeats.purge(now=now),
        lambda: purge.run_deletes(
            lambda: error_log.sweep(now=now),
            lambda: login.sweep_sessions(now=now),
            lambda: login.sweep_attempts(now=now),
            lambda: alerts.sweep(now=now),
        ),
    )
