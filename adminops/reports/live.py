"""The current status of the service: a few queries on indexes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import CharField, Count, F, Value

from billing.models import Notification
from generation.models import DeadLetter, DeadState, Job, Stage, WebhookDelivery
from generation.providers import provider_choices


@dataclass(frozen=True)
class JobCounts:
    """Jobs that have not ended, by stage."""

    waiting: int  # not submitted to a provider yet
    at_providers: int
    storing: int


def count_jobs() -> JobCounts:
    counted: dict[str, int] = dict(
        Job.objects.exclude(stage=Stage.DONE).values_list("stage").annotate(Count("id")).order_by()
    )
    storing = counted.pop(Stage.STORE, 0) + counted.pop(Stage.CONVERT, 0)
    waiting = counted.pop(Stage.SUBMIT, 0)
    return JobCounts(waiting, sum(counted.values()), storing)


def count_open_dead_letters() -> int:
    return DeadLetter.objects.filter(state=DeadState.OPEN).count()


def last_webhooks() -> dict[str, datetime]:
    """The time of the latest webhook of each provider and of Apple, if any. Two queries."""
    found: list[Any] = [
        WebhookDelivery.objects.filter(provider=name)
        .order_by("-received_at")
        .values_list(Value(name, CharField()), F("received_at"))[:1]
        for name, _ in provider_choices()
    ]
    calls: dict[str, datetime] = dict(found[0].union(*found[1:], all=True))
    # Ids are time-ordered.
    latest = Notification.objects.order_by("-id").values_list("received_at", flat=True).first()
    return calls | ({"Apple": latest} if latest else {})
