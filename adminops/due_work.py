"""The background work of adminops: due rows, queues, and how often beat looks."""

from __future__ import annotations

from adminops.models import Alert, Incident
from rendio.common.background.due_work import DueRows, DueWork

WATCH = DueWork(
    "adminops.monitoring",
    DueRows("alerts", Alert.objects.all),
    every_seconds=30,
    is_periodic=True,
)
WORK_ON_INCIDENTS = DueWork(
    "adminops.work_on_incidents",
    DueRows("incidents", Incident.objects.all),
    every_seconds=10,
    # Of the jobs of one incident.
    batch=50,
)
ROLL_UP_DAYS = DueWork(
    "adminops.count_days",
    # A long read, and no user waits for its result.
    queue="low",
    every_seconds=60,
    time_limit_seconds=1800,
    is_periodic=True,
)
PURGE = DueWork("adminops.sweep", every_seconds=60, is_periodic=True)
