"""Due rows: what has to happen is a row with a due time, tried until it is done.

At least once. A row is due again, later each time, before anybody works on it, so that a worker
that dies leaves it to the next; whoever is done sets `due_at` to None or deletes the row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TypeVar

import structlog
from django.db import models, transaction

from rendio.common import shutdown

logger = structlog.get_logger(__name__)

# Look on at once, but let other tasks have their turn, and end long before the time limit, which
# kills the process with what it has in hand.
DRAIN_SECONDS = 30
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)


class DueRow(models.Model):
    """`due_at` is None where nothing is to be done; a model has an index on it."""

    due_at = models.DateTimeField(null=True, blank=True)
    tries = models.PositiveIntegerField(default=0)

    class Meta:
        abstract = True


Row = TypeVar("Row", bound=DueRow)
Item = TypeVar("Item")


def claim_due(rows: models.QuerySet[Row], *, now: datetime, limit: int) -> list[Row]:
    """Claim up to `limit` of these rows that are due, longest due first.

    Opens its own transaction. They are due again after 1, 2, 4 … 60 minutes.
    """
    with transaction.atomic(durable=True):
        due = rows.filter(due_at__lte=now).order_by("due_at")
        taken = list(due.select_for_update(skip_locked=True)[:limit])
        for row in taken:
            row.due_at = now + _pause(row.tries)
            row.tries += 1
        rows.model._default_manager.bulk_update(taken, ["due_at", "tries"])
    return taken


def _pause(tries: int) -> timedelta:
    doubled: timedelta = FIRST_PAUSE * 2 ** min(tries, 10)
    return min(doubled, LONGEST_PAUSE)


def for_each_logged(
    items: Iterable[Item],
    act: Callable[[Item], object],
    *,
    stop_at: type[Exception] | tuple[type[Exception], ...] = (),
) -> None:
    """Run `act` on each item; what breaks on one is logged, and stops none of the others.

    An item on which it broke is due again when its lease ends. After an exception of `stop_at`,
    which says that the others would meet the same, they are put back: due again sooner than the
    item that raised it, so that an item which always raises it keeps none of the others from
    their turn.
    """
    left = list(items)
    while left:
        item = left.pop(0)
        try:
            act(item)
        except stop_at as reason:
            logger.info("steps_stopped", reason=type(reason).__name__)
            _put_back(left)
            return
        except Exception:
            logger.exception("step_failed")


def _put_back(items: Iterable[object]) -> None:
    """As they were before `take`, but for a first pause."""
    for row in items:
        if isinstance(row, DueRow):
            as_taken = type(row)._default_manager.filter(pk=row.pk, due_at=row.due_at)
            taken_at = row.due_at - _pause(row.tries - 1) if row.due_at else None
            as_taken.update(due_at=taken_at and taken_at + FIRST_PAUSE, tries=row.tries - 1)


def run_all(*steps: Callable[[], object]) -> None:
    """Run each step; one that breaks is logged and stops none of the others.

    Raises the first exception after the last step, so that whoever runs this knows.
    """
    first: Exception | None = None
    for step in steps:
        try:
            step()
        except Exception as error:
            logger.exception("step_failed")
            first = first or error
    if first:
        raise first


def drain(look: Callable[[], int], *, batch: int, seconds: float = DRAIN_SECONDS) -> None:
    """Run `look` while it finds a full batch, which means that more may wait, for `seconds`.

    A process that is asked to end finishes what it has in hand and takes no more.
    """
    began = time.monotonic()
    while not shutdown.has_begun() and look() >= batch:
        if time.monotonic() - began >= seconds:
            return
