"""What should have happened by now: the oldest due row of each kind.

Where work is done, a row is due for moments only: whoever claims it makes it due again later.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.apps import apps
from django.db.models import CharField, F, QuerySet, Value

from generation.models import (
    AccountMediaDeletion,
    Job,
    ProviderRequest,
    Stage,
    Upload,
    WebhookDelivery,
)
from rendio.common.due import DueRow

JOB_QUEUES = ("medium", "low")


@dataclass(frozen=True)
class OldestDue:
    """A kind of work that waits, and for how long its oldest row has been due."""

    what: str
    seconds: float


def oldest_due(*, now: datetime) -> list[OldestDue]:
    """The kinds of work of which something is due, the longest due first.

    One query, which looks up one row of each kind by its index.
    """
    oldest = [
        rows.filter(**{f"{column}__lte": now})
        .order_by(column)
        .values_list(Value(what, CharField()), F(column))[:1]
        for what, rows, column in _kinds()
    ]
    found = oldest[0].union(*oldest[1:], all=True)
    due = [OldestDue(what, (now - due_at).total_seconds()) for what, due_at in found]
    return sorted(due, key=lambda one: -one.seconds)


def _kinds() -> Iterator[tuple[str, QuerySet[Any], str]]:
    """What a kind is called, its rows, and the column that says when they are due."""
    for queue in JOB_QUEUES:
        for stage in Stage:
            if stage != Stage.DONE:
                # A job that waits for its turn, or for room at a provider, is not late before its
                # deadline is.
                column = "deadline_at" if stage == Stage.SUBMIT else "due_at"
                rows = Job.objects.filter(queue=queue, stage=stage)
                yield f"{queue} jobs: {stage}", rows, column
    yield "deliveries", WebhookDelivery.objects.filter(processed_at=None), "received_at"
    yield "submissions to stop", ProviderRequest.objects.all(), "cancel_due_at"
    yield "pictures to remove", Upload.objects.all(), "remove_at"
    for model in apps.get_models():
        if issubclass(model, (DueRow, AccountMediaDeletion)):
            yield str(model._meta.verbose_name_plural), model._default_manager.all(), "due_at"
