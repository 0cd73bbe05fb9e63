"""Nudges: telling the workers, after a commit, to look now.

At most once, and worthless: the due row is the queue, and the beat looks at it every second
anyway. So a nudge names a task and a queue but no row, those of the same few milliseconds go out
as one message, and a thread of its own sends them: no request waits for the broker, and no failure
of it reaches one.
"""

from __future__ import annotations

import logging
import threading
import time

from celery import current_app
from django.db import transaction

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.02
EXPIRES_SECONDS = 10
# What Celery's events say of a task's arguments, and Flower shows: nothing.
UNTOLD = ""


class _Sender:
    def __init__(self) -> None:
        self._wanted: set[tuple[str, str, bool]] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def want(self, task: str, queue: str, *, with_queue: bool) -> None:
        with self._changed:
            self._wanted.add((task, queue, with_queue))
            # A thread does not survive a fork; the process that needs one makes its own.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="nudge", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._wanted:
                    self._changed.wait()
                wanted, self._wanted = self._wanted, set()
            for task, queue, with_queue in wanted:
                try:
                    current_app.send_task(
                        task,
                        kwargs={"queue": queue} if with_queue else {},
                        queue=queue,
                        expires=EXPIRES_SECONDS,
                        retry=False,
                        argsrepr=UNTOLD,
                        kwargsrepr=UNTOLD,
                    )
                except Exception as error:
                    # Whatever the broker has: the beat looks too.
                    logger.warning("nudge_lost", extra={"error": type(error).__name__})
            time.sleep(PAUSE_SECONDS)


_sender = _Sender()


def after_commit(task: str, *, queue: str, with_queue: bool = False) -> None:
    """Once the transaction has committed (at once, if none is open), nudge `task` on `queue`.

    `with_queue` passes the queue's name to the task, for tasks that look at one queue's jobs.
    """
    transaction.on_commit(lambda: _sender.want(task, queue, with_queue=with_queue), robust=True)
