"""Rows with a due time: claim them, work on each, claim more.

At least once. A claim makes a row due again later before anybody works on the row. A worker that
dies therefore leaves the row to the next worker; a worker that is done sets `due_at` to None or
deletes the row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog
from django.db import models, transaction

from rendio.common.background import shutdown

logger = structlog.get_logger(__name__)

# How long one task claims further batches, so that other tasks get their turn. Far below the time
# limit of tasks, at which the process is killed together with its work.
DRAIN_SECONDS = 30
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)


class DueRow(models.Model):
    """`due_at` is None if no work is pending. Each model has an index on `due_at`."""

    due_at = models.DateTimeField(null=True, blank=True)
    tries = models.PositiveIntegerField("attempts", default=0)

    class Meta:
        abstract = True


Row = TypeVar("Row", bound=DueRow)
AnyRow = TypeVar("AnyRow", bound=models.Model)
Item = TypeVar("Item")


def claim_due(rows: models.QuerySet[Row], *, now: datetime, limit: int) -> list[Row]:
    """Claim up to `limit` of the due rows, the longest due first.

    Opens its own transaction. The rows are due again after 1, 2, 4 … 60 minutes.
    """
    with transaction.atomic(durable=True):
        claimed = _lock_due(rows, column="due_at", now=now, limit=limit)
        for row in claimed:
            row.due_at = now + _pause(row.tries)
            row.tries += 1
        rows.model._default_manager.bulk_update(claimed, ["due_at", "tries"])
    return claimed


def lease_due(
    rows: models.QuerySet[AnyRow],
    *,
    now: datetime,
    limit: int,
    lease: timedelta,
    column: str = "due_at",
    **changes: Any,
) -> list[AnyRow]:
    """Claim up to `limit` of the rows that are due by `column`, the longest due first.

    Opens its own transaction. The rows are due again after `lease`; `changes` are written in the
    same statement. The instances have the new time in `column`, and the old values otherwise.
    """
    with transaction.atomic(durable=True):
        claimed = _lock_due(rows, column=column, now=now, limit=limit)
        keys = [row.pk for row in claimed]
        rows.model._default_manager.filter(pk__in=keys).update(**{column: now + lease}, **changes)
    for row in claimed:
        setattr(row, column, now + lease)
    return claimed


def _lock_due(
    rows: models.QuerySet[AnyRow], *, column: str, now: datetime, limit: int
) -> list[AnyRow]:
    due = rows.filter(**{f"{column}__lte": now}).order_by(column)
    return list(due.select_for_update(skip_locked=True, of=("self",))[:limit])


def _pause(tries: int) -> timedelta:
    doubled: timedelta = FIRST_PAUSE * 2 ** min(tries, 10)
    return min(doubled, LONGEST_PAUSE)


def for_each_logged(
    items: Iterable[Item],
    act: Callable[[Item], object],
    *,
    stop_on: type[Exception] | tuple[type[Exception], ...] = (),
) -> None:
    """Call `act` for each item. An exception is logged and does not stop the rest.

    A failed item is due again when its lease ends. An exception of `stop_on` means that the rest
    would fail too: the rest is released and becomes due sooner than the failed item, so an
    item that always fails cannot keep the others from their turn.
    """
    left = list(items)
    while left:
        item = left.pop(0)
        try:
            act(item)
        except stop_on as reason:
            logger.info("steps_stopped", reason=type(reason).__name__)
            _release(left)
            return
        except Exception:
            logger.exception("step_failed")


def _release(items: Iterable[object]) -> None:
    """Undo the claim of each row; the row is due after the first pause."""
    for row in items:
        if isinstance(row, DueRow):
            as_claimed = type(row)._default_manager.filter(pk=row.pk, due_at=row.due_at)
            claimed_at = row.due_at - _pause(row.tries - 1) if row.due_at else None
            as_claimed.update(due_at=claimed_at and claimed_at + FIRST_PAUSE, tries=row.tries - 1)


def run_all(*steps: Callable[[], object]) -> None:
    """Call each step. An exception is logged and does not stop the rest.

    Raises the first exception after the last step.
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


def drain(
    work_batch: Callable[[], int | None], *, batch: int, seconds: float = DRAIN_SECONDS
) -> None:
    """Call `work_batch` again while it returns `batch` or more, for `seconds` at most.

    A full batch means that more rows may be due. A process that is shutting down starts no batch.
    """
    began = time.monotonic()
    while not shutdown.is_requested() and (work_batch() or 0) >= batch:
        if time.monotonic() - began >= seconds:
            return
