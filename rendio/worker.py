"""A worker of some of the queues: `python -m rendio.worker high`, or several of them."""

from __future__ import annotations

import os
import sys

from billiard import pool

from rendio.common import metrics_folder

# Looks, 0.1 s apart, of a child that ends for its parent to have read its last result; of 300 where
# nothing is said. A parent that is stopping often reads no more: its stop then took half a minute.
pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 10


def main(queues: list[str]) -> None:
    metrics_folder.make()
    # Only now: it reads in what counts.
    from rendio.celery import app

    try:
        app.worker_main(
            [
                *["--quiet", "worker", f"--hostname={'-'.join(queues)}@%h"],
                *[f"--queues={','.join(queues)}", "--pool=prefork"],
                f"--concurrency={os.environ.get('WORKER_CONCURRENCY') or 2}",
                *["--without-gossip", "--without-mingle", "--loglevel=INFO"],
            ]
        )
    finally:
        metrics_folder.remove()


if __name__ == "__main__":
    main(sys.argv[1:] or ["high", "medium", "low"])
