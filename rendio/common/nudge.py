"""Nudges: telling the workers, after a commit, to look now.

At most once, and worthless: the due row is the queue, and the beat looks at it every second
anyway. So a nudge names a task and a queue but no row, those of the same few milliseconds go out
as one message, and a thread of its own sends them: no request waits for the broker, and no failure
of it reaches one. Messages do not expire, since a receiver whose clock is ahead would throw all of
them away; where many wait already, no more are added, and the beat tells again later.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from celery import current_app
from django.db import transaction

from rendio.common.background import BackgroundThread

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.02
# So many messages wait on a queue whose workers are busy or gone. More would tell them nothing new.
ENOUGH = 100
# A broker that hangs holds each of the messages for its socket's time-out.
LATE_SECONDS = 120
# What Celery's events say of a task's arguments, and Flower shows: nothing.
UNTOLD = ""


class _Sender:
    def __init__(self) -> None:
        self._wanted: set[tuple[str, str, bool]] = set()
        self._changed = threading.Condition()
        self._thread = BackgroundThread(
            "nudge", wait=self._wait, turn=self._send, late_seconds=LATE_SECONDS
        )

    def want(self, task: str, queue: str, *, with_queue: bool) -> None:
        with self._changed:
            self._wanted.add((task, queue, with_queue))
            self._changed.notify()
        # A thread does not survive a fork; the process that needs one makes its own.
        self._thread.start()

    def _wait(self) -> bool:
        time.sleep(PAUSE_SECONDS)
        with self._changed:
            while not self._wanted:
                self._changed.wait()
        return True

    def _send(self) -> None:
        with self._changed:
            wanted, self._wanted = self._wanted, set()
        for task, queue, with_queue in wanted:
            try:
                with current_app.producer_pool.acquire(block=True) as producer:
                    if not has_room(queue, producer):
                        continue
                    current_app.send_task(
                        task,
                        kwargs={"queue": queue} if with_queue else {},
                        queue=queue,
                        producer=producer,
                        retry=False,
                        argsrepr=UNTOLD,
                        kwargsrepr=UNTOLD,
                    )
            except Exception as error:
                # Whatever the broker has: the beat looks too.
                logger.warning("nudge_lost", extra={"error": type(error).__name__})


def has_room(queue: str, producer: Any, *, most: int = ENOUGH) -> bool:
    """Whether fewer than `most` messages wait on the Celery queue. Asks the broker; raises what its
    client raises."""
    waiting: int = producer.channel.queue_declare(queue).message_count
    return waiting < most


_sender = _Sender()


def after_commit(task: str, *, queue: str, with_queue: bool = False) -> None:
    """Once the transaction has committed (at once, if none is open), nudge `task` on `queue`.

    `with_queue` passes the queue's name to the task, for tasks that look at one queue's jobs.
    """
    transaction.on_commit(lambda: _sender.want(task, queue, with_queue=with_queue), robust=True)
