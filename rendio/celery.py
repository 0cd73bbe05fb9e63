"""The Celery application. A message here means "look now", never more.

All work is rows with a due time (docs/architecture.md); a lost, doubled or late message changes
nothing but when they are looked at. The beat says "look now" every second, services say it after
commit. Messages do not expire, since sender and receiver may have different clocks; nobody adds one
to a queue that is long already (wakeup.has_room).
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Any

import structlog
from celery import Celery
from celery.schedules import schedule
from celery.signals import (
    heartbeat_sent,
    setup_logging,
    task_postrun,
    task_prerun,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from rendio.common import broker, shutdown, wakeup
from rendio.common.clock import monotonic_now

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rendio.settings")

broker.install()
app = Celery("rendio")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def _every(
    seconds: float, task: str, to: str, arguments: dict[str, Any] | None = None
) -> dict[str, Any]:
    """`to` is the Celery queue that the message goes to."""
    return {
        "task": task,
        "schedule": schedule(seconds, nowfun=monotonic_now),
        "kwargs": arguments or {},
        "options": {
            "queue": to,
            "argsrepr": wakeup.REDACTED,
            "kwargsrepr": wakeup.REDACTED,
        },
    }


app.conf.beat_schedule = {
    "apply deliveries": _every(1, "generation.apply_deliveries", "high"),
    "cancel": _every(1, "generation.cancel_due", "high"),
    "stop": _every(5, "generation.stop_due", "high"),
    "submit images": _every(1, "generation.submit_due", "medium", {"queue": "medium"}),
    "submit videos": _every(1, "generation.submit_due", "low", {"queue": "low"}),
    "poll images": _every(1, "generation.poll_due", "medium", {"queue": "medium"}),
    "poll videos": _every(1, "generation.poll_due", "low", {"queue": "low"}),
    "store images": _every(1, "generation.store_due", "medium", {"queue": "medium"}),
    "store videos": _every(1, "generation.store_due", "low", {"queue": "low"}),
    "convert videos": _every(1, "generation.convert_due", "low", {"queue": "low"}),
    "remove": _every(60, "generation.remove_due", "high"),
    "erase": _every(60, "generation.erase_due", "high"),
    "revoke at Apple": _every(60, "accounts.revoke_at_apple", "high"),
    "set ban bits": _every(10, "accounts.set_ban_bits", "high"),
    "give welcomes": _every(1, "accounts.give_welcomes", "high"),
    "send pushes": _every(5, "accounts.send_pushes", "medium"),
    "sweep generation": _every(60, "generation.sweep", "high"),
    "sweep credits": _every(60, "credits.sweep", "high"),
    "sweep accounts": _every(60, "accounts.sweep", "high"),
    "prove the ledger": _every(60, "credits.prove_ledger", "low"),
    "count days": _every(60, "adminops.count_days", "low"),
    "watch": _every(30, "adminops.monitoring", "high"),
    "work on incidents": _every(10, "adminops.work_on_incidents", "high"),
    "sweep watch": _every(60, "adminops.sweep", "high"),
}


# A worker that is asked to end finishes what it has in hand and claims nothing more. What it cannot
# finish, as it is killed, is due again when its lease is over.
worker_shutting_down.connect(shutdown.begin)


@heartbeat_sent.connect
def _send_heartbeat(*, sender: Any, **_: Any) -> None:
    """Celery's own heartbeat, every two seconds while the worker's main loop turns."""
    from adminops.monitoring import heartbeats

    if not shutdown.has_begun():
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
    task.request.began = time.monotonic()
    task.request.span = tracing.span(task.name, "CONSUMER", {})
    task.request.told = task.request.span.__enter__()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(task=task.name, task_id=task_id)


def _measure_clock() -> None:
    """A worker's child has no other moment for it. Without PostgreSQL the task fails by itself."""
    from django.db import Error as DatabaseFailure

    from rendio.common import clock

    with suppress(DatabaseFailure):
        clock.synchronize()


@task_postrun.connect
def _end_task(*, task: Any, state: str, **_: Any) -> None:
    from rendio.common.observability import metrics

    task.request.told["rendio.task_state"] = state
    task.request.span.__exit__(None, None, None)
    took = time.monotonic() - task.request.began
    metrics.task_seconds.labels(task.name, state).observe(took)
    _report_threads(task)
    structlog.contextvars.clear_contextvars()


def _report_threads(task: Any) -> None:
    """A worker's child has no heartbeat of its own: what is wrong with its background threads, it
    says after each task."""
    from adminops.monitoring import heartbeats

    if heartbeats.own_problem():
        heartbeats.send(process=f"{task.request.hostname}:{os.getpid()}", roles=["child"])


@setup_logging.connect
def _keep_django_logging(**_: Any) -> None:
    """Celery leaves logging alone while a receiver is connected; Django has configured it."""
