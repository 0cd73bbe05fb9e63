"""Deleting rows that have served their time: in small transactions, as many as are due.

A sweep has to be faster than callers can write, or the table grows all the same. So it goes on
while it finds full batches, and ends after SECONDS for the other work of its queue; the next one is
a minute later.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from django.db import models

from rendio.common.due import drain, run_all

BATCH = 1000
SECONDS = 5


def delete_batch(rows: models.QuerySet, *, order: str) -> int:
    """Delete the first BATCH of these rows by `order`, which an index serves; returns how many."""
    keys = list(rows.order_by(order).values_list("pk", flat=True)[:BATCH])
    rows.model._default_manager.filter(pk__in=keys).delete()
    return len(keys)


def run_deletes(*deletes: Callable[[], int]) -> None:
    """Run each of these, which delete up to BATCH rows and return how many, until few are left.

    One that breaks stops none of the others; the first exception is raised after the last of them.
    """
    run_all(*(partial(drain, delete, batch=BATCH, seconds=SECONDS) for delete in deletes))
