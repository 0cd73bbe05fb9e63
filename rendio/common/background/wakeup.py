"""Wake-up messages: after a commit, tell the workers to look for due rows now.

At most once, and dispensable: the due row is the queue, and beat looks for due rows every second
anyway. A message therefore names a task and a queue but no row. Equal messages of the same few
milliseconds are sent as one. A background thread sends them: no request waits for the broker, and
no failure of the broker reaches a request. Messages do not expire, since a worker whose clock is
ahead would drop all of them; a queue that is long gets no further messages, and beat sends again
later.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from celery import current_app
from django.db import transaction

from rendio.common.background.batches import BatchSender

logger = logging.getLogger(__name__)

# Messages in a queue whose workers are busy or gone. More messages would add nothing.
MAX_WAITING = 100
# A broker that hangs delays each message by its socket's time-out.
LATE_SECONDS = 120
# Stands for a task's arguments in Celery's events, which Flower shows.
REDACTED = ""

# Task, queue, and the task's arguments.
_Message = tuple[str, str, tuple[tuple[str, str], ...]]


def _send(messages: set[_Message]) -> None:
    for task, queue, arguments in messages:
        try:
            with current_app.producer_pool.acquire(block=True) as producer:
                if not has_room(queue, producer):
                    continue
                current_app.send_task(
                    task,
                    kwargs=dict(arguments),
                    queue=queue,
                    producer=producer,
                    retry=False,
                    argsrepr=REDACTED,
                    kwargsrepr=REDACTED,
                )
        except Exception as error:
            # Beat looks too, even if the broker fails.
            logger.warning("nudge_lost", extra={"error": type(error).__name__})


def has_room(queue: str, producer: Any, *, limit: int = MAX_WAITING) -> bool:
    """Whether fewer than `limit` messages wait in the Celery queue. Raises the client's errors."""
    waiting: int = producer.channel.queue_declare(queue).message_count
    return waiting < limit


_sender: BatchSender[_Message] = BatchSender("wakeup", _send, late_seconds=LATE_SECONDS)


def enqueue_on_commit(task: str, *, queue: str, arguments: Mapping[str, str] | None = None) -> None:
    """Send a wake-up message for `task` to `queue` once the transaction has committed, or at once
    where no transaction is open."""
    message = (task, queue, tuple(sorted((arguments or {}).items())))
    transaction.on_commit(lambda: _sender.add(message), robust=True)
