"""The Celery tasks of adminops. Late and repeated runs are harmless."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from adminops.actions import incidents  # noqa: F401
from adminops.auth import login
from adminops.due_work import PURGE, ROLL_UP_DAYS, WATCH
from adminops.monitoring import alerts, error_log, heartbeats
from adminops.reports import daily_rollups
from generation import spend
from rendio.common.background import purge
from rendio.common.background.due_rows import run_all
from rendio.common.background.due_work import due_batch


@due_batch(WATCH)
def watch(*, now: datetime) -> None:
    run_all(
        *(
            partial(step, now=now)
            for step in (spend.rollup_daily_spend, alerts.raise_alerts, alerts.send_due)
        )
    )


@due_batch(ROLL_UP_DAYS)
def roll_up_days(*, now: datetime) -> None:
    daily_rollups.refresh(now=now)


@due_batch(PURGE)
def purge_monitoring(*, now: datetime) -> None:
    run_all(
        lambda: heartbeats.purge(now=now),
        lambda: purge.run_deletes(
            lambda: error_log.purge(now=now),
            lambda: login.purge_sessions(now=now),
            lambda: login.purge_attempts(now=now),
            lambda: alerts.purge(now=now),
        ),
    )
