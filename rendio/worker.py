"""A worker of some of the queues: `python -m rendio.worker high`, or several of them."""

from __future__ import annotations

import os
import sys

from billiard import pool
from celery.worker import control

from rendio.common.observability import metrics_folder
from rendio.server.addresses import whole_number

# Looks, 0.1 s apart, of a child that ends for its parent to have read its last result; of 300 where
# nothing is said. A parent that is stopping often reads no more: its stop then took half a minute.
pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 10


# What a worker may be told from afar besides being asked: to say what its tasks do, which Flower
# does.
HARMLESS = {"enable_events", "disable_events", "heartbeat"}


def forget_orders() -> None:
    """Let the worker answer questions and take no orders, such as to shut down, to grow its pool or
    to leave its queue. Orders come through Redis, where nobody has to prove who they are."""
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
    # Only now: it reads in what counts.
    from rendio.celery import app

    forget_orders()
    try:
        app.worker_main(
            [
                *["--quiet", "worker", f"--hostname={'-'.join(queues)}@%h"],
                *[f"--queues={','.join(queues)}", "--pool=prefork"],
                f"--concurrency={processes}",
                *["--without-gossip", "--without-mingle", "--loglevel=INFO"],
            ]
        )
    finally:
        metrics_folder.remove()


if __name__ == "__main__":
    main(sys.argv[1:] or ["high", "medium", "low"])
