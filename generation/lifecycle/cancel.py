"""Asking a provider to stop. Money moves only on what the provider then says, or at the
deadline."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

from generation.lifecycle import settle
from generation.lifecycle.claims import side_by_side
from generation.lifecycle.poll import live_handles
from generation.models import Job, Stage
from generation.providers import get_provider
from generation.providers.base import CancelAnswer, Failed, Handle, Reason

BATCH = 20


def cancel_due(*, now: datetime) -> int:
    """Pass on the cancellations that no provider has been told yet; returns how many were looked
    at.

    Asking twice is harmless, so there is no lease: two workers may both ask.
    """
    jobs = list(
        Job.objects.filter(
            cancel_requested_at__lte=now, stage__in=[Stage.QUEUED, Stage.RUNNING, Stage.SENT]
        ).order_by("cancel_requested_at")[:BATCH]
    )
    cancel(jobs, now=now)
    return len(jobs)


def cancel(jobs: list[Job], *, now: datetime) -> None:
    """Ask the provider to stop each job; those that it has stopped are cancelled and refunded."""
    handles = live_handles(jobs)
    for (job, _), stopped in side_by_side(
        [(job, handles[job.id]) for job in jobs if job.id in handles], _stop
    ):
        moment = timezone.now()
        if stopped is True:
            settle.give_up(job, Reason.CANCELLED, now=moment)
        elif stopped is False:
            # It has been asked and runs on (or has finished): looking tells how it ends.
            Job.objects.filter(id=job.id, stage=job.stage, leased_until=None).update(
                cancel_requested_at=None, due_at=moment
            )


def _stop(item: tuple[Job, tuple[str, Handle]]) -> bool | None:
    """True: it will not be made. False: it goes on. None: we could not ask."""
    _, (provider_name, handle) = item
    provider = get_provider(provider_name)
    answer = provider.cancel(handle)
    if answer == CancelAnswer.UNKNOWN:
        return None
    result = provider.result(handle)
    return isinstance(result, Failed) and result.reason == Reason.CANCELLED
