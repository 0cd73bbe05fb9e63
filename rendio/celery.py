"""The Celery application. A message here means "look now", never more.

All work is rows with a due time (docs/architecture.md): a lost, doubled or late message changes
only when a worker looks. Beat sends a message while a row is due (rendio.beat_scheduler), services
send one after their commit (rendio.common.background.wakeup). The kinds of work, with their queues
and intervals, are in each app's `due_work.py`.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Any

import structlog
from celery import Celery
from celery.signals import (
    heartbeat_sent,
    setup_logging,
    task_postrun,
    task_prerun,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from rendio.common.background import broker, shutdown

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rendio.settings")

broker.install()
app = Celery("rendio")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


# A worker that is asked to end finishes its batch and claims no more. The rows of a worker that is
# killed are due again when their leases end.
worker_shutting_down.connect(shutdown.request)


@heartbeat_sent.connect
def _send_heartbeat(*, sender: Any, **_: Any) -> None:
    """Runs at Celery's own heartbeat, every two seconds while the worker's main loop runs."""
    from adminops.monitoring import heartbeats

    if not shutdown.is_requested():
        heartbeats.send(process=sender.eventer.hostname, roles=app.amqp.queues.consume_from)


@worker_shutdown.connect
def _stop_heartbeat(*, sender: Any, **_: Any) -> None:
    from adminops.monitoring import heartbeats

    heartbeats.stop(process=sender.hostname)


@worker_ready.connect
def _serve_metrics(**_: Any) -> None:
    from rendio import metrics_endpoint

    metrics_endpoint.serve_for_worker()


@task_prerun.connect
def _begin_task(*, task: Any, task_id: str, **_: Any) -> None:
    from rendio.common.observability import tracing

    _measure_clock()
    task.request.started_at = time.monotonic()
    task.request.span = tracing.span(task.name, "CONSUMER", {})
    task.request.span_attributes = task.request.span.__enter__()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(task=task.name, task_id=task_id)


def _measure_clock() -> None:
    """A worker's child has no other occasion. Without PostgreSQL the task itself fails."""
    from django.db import Error as DatabaseFailure

    from rendio.common import clock

    with suppress(DatabaseFailure):
        clock.synchronize()


@task_postrun.connect
def _end_task(*, task: Any, state: str, **_: Any) -> None:
    from rendio.common.observability import metrics

    task.request.span_attributes["rendio.task_state"] = state
    task.request.span.__exit__(None, None, None)
    seconds = time.monotonic() - task.request.started_at
    metrics.task_seconds.labels(task.name, state).observe(seconds)
    _report_threads(task)
    structlog.contextvars.clear_contextvars()


def _report_threads(task: Any) -> None:
    """Report problems of background threads after each task: a worker's child has no heartbeat."""
    from adminops.monitoring import heartbeats

    if heartbeats.own_problem():
        heartbeats.send(process=f"{task.request.hostname}:{os.getpid()}", roles=["child"])


@setup_logging.connect
def _keep_django_logging(**_: Any) -> None:
    """Celery leaves logging alone while a receiver is connected; Django has configured it."""
