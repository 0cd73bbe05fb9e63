"""Deletion of old rows in small transactions, until none is due.

A purge must delete faster than callers can insert, or the table grows. So it continues while it
finds full batches, and stops after SECONDS for the other work of its queue; the next one is a
minute later.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from django.db import models

from rendio.common.background.due_rows import drain, run_all

BATCH = 1000
SECONDS = 5


def delete_batch(rows: models.QuerySet, *, order: str) -> int:
    """Delete the first BATCH of these rows by `order`, which an index serves; returns how many."""
    keys = list(rows.order_by(order).values_list("pk", flat=True)[:BATCH])
    rows.model._default_manager.filter(pk__in=keys).delete()
    return len(keys)


def run_deletes(*deletes: Callable[[], int]) -> None:
    """Repeat each function, which deletes up to BATCH rows and returns how many, until few are
    left.

    An exception does not stop the other functions; the first one is raised after the last function.
    """
    run_all(*(partial(drain, delete, batch=BATCH, seconds=SECONDS) for delete in deletes))
