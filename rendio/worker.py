"""Start a worker for one or more queues: `python -m rendio.worker high`."""

from __future__ import annotations

import os
import sys

from billiard import pool
from celery.utils.nodenames import host_format
from celery.worker import control

from rendio.common.observability import metrics_folder
from rendio.server.addresses import whole_number

# How often, every 0.1 s, an ending child checks whether its parent has read its last result
# (default 300). A stopping parent often reads no more: stopping took half a minute.
pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 10


# Remote commands that are kept besides queries: Flower asks for task events.
HARMLESS = {"enable_events", "disable_events", "heartbeat"}


def forget_orders() -> None:
    """Remove remote-control commands that change the worker, such as shutdown, pool size or queues.
    They come through Redis, without authentication. Commands that only query remain."""
    for name, command in list(control.Panel.meta.items()):
        if command.type == "control" and name not in HARMLESS:
            del control.Panel.meta[name], control.Panel.data[name]


def main(queues: list[str]) -> None:
    problems: list[str] = []
    concurrency = os.environ.get("WORKER_CONCURRENCY") or "2"
    processes = whole_number("WORKER_CONCURRENCY", concurrency, problems)
    if problems:
        raise SystemExit(problems[0])
    metrics_folder.make()
    # Imported only now: it imports the metrics, which need the folder.
    from rendio.celery import app

    forget_orders()
    try:
        # Not by Celery's command line, which imports every plugin: Flower takes 0.25 s.
        worker = app.Worker(
            hostname=host_format(f"{'-'.join(queues)}@%h"),
            queues=queues,
            pool="prefork",
            concurrency=processes,
            without_gossip=True,
            without_mingle=True,
            loglevel="INFO",
            quiet=True,
        )
        worker.start()
    finally:
        metrics_folder.remove()
    raise SystemExit(worker.exitcode)


if __name__ == "__main__":
    main(sys.argv[1:] or ["high", "medium", "low"])
