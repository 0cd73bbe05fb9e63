"""Timing of a route from its recent submissions: the first poll, and the progress of a job.

If webhooks reported nearly all recent submissions of the route, polls are only for lost webhooks.
They start at the 95th percentile and are then as frequent as without webhooks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from generation.catalogue.specs import RouteSpec
from generation.lifecycle.retry_delay import retry_delay
from generation.models import ProviderRequest, RequestState
from rendio.common.ttl_cache import ttl_cache

SAMPLE_SIZE, MIN_SAMPLE = 50, 5
RELIABLE_SHARE = 0.9
CACHE_SECONDS = 10


@dataclass(frozen=True)
class RouteTiming:
    """Durations of a route's recent submissions, from the submission to the stored result."""

    median: timedelta
    percentile_95: timedelta
    webhooks_reliable: bool  # a webhook reported at least RELIABLE_SHARE of them


def for_training(route: RouteSpec, steps: int) -> timedelta | None:
    """The usual duration of a training with so many steps: by the recent trainings of the route,
    else by what its trainer states. None if nobody knows."""
    seconds = _seconds_per_step(route.id) or route.training.get("seconds_per_step")
    return timedelta(seconds=seconds * steps) if seconds else None


@ttl_cache(lambda: CACHE_SECONDS)
def _seconds_per_step(route_id: UUID) -> float | None:
    """The median. None where no training has finished."""
    made = ProviderRequest.objects.filter(
        route_id=route_id, state=RequestState.FINISHED, ended_at__isnull=False
    ).order_by("-ended_at")
    recent = made.values_list("sent_at", "ended_at", "job__settings__steps")[:SAMPLE_SIZE]
    shares = sorted(
        (ended_at - sent_at).total_seconds() / steps
        for sent_at, ended_at, steps in recent
        if ended_at and steps
    )
    return shares[len(shares) // 2] if shares else None


@ttl_cache(lambda: CACHE_SECONDS)
def for_route(route_id: UUID) -> RouteTiming | None:
    """None where fewer than MIN_SAMPLE submissions have finished."""
    made = ProviderRequest.objects.filter(
        route_id=route_id, state=RequestState.FINISHED, ended_at__isnull=False
    ).order_by("-ended_at")
    recent = list(made.values_list("sent_at", "ended_at", "webhook_received")[:SAMPLE_SIZE])
    if len(recent) < MIN_SAMPLE:
        return None
    durations = sorted(ended_at - sent_at for sent_at, ended_at, _ in recent if ended_at)
    reported = sum(webhook_received for *_, webhook_received in recent)
    return RouteTiming(
        median=durations[len(durations) // 2],
        percentile_95=durations[len(durations) * 95 // 100],
        webhooks_reliable=reported >= RELIABLE_SHARE * len(recent),
    )


def first_poll_delay(timing: RouteTiming | None) -> timedelta:
    """Time from the acceptance of a job to its first poll."""
    return max(
        retry_delay(0), timing.percentile_95 if timing and timing.webhooks_reliable else timedelta()
    )
