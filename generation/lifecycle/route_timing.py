"""How long a route takes, by its own history: when a job by it is looked at first, and how far it
is meanwhile.

Where webhooks have told of nearly all that the route made lately, one will come, and looking is for
the few that are lost: from the 95th percentile on. It is then as often as without webhooks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.conf import settings

from generation.models import ProviderRequest, RequestState
from rendio.common.ttl_cache import ttl_cache

SAMPLE_SIZE, MIN_SAMPLE = 50, 5
RELIABLE_SHARE = 0.9
CACHE_SECONDS = 10


@dataclass(frozen=True)
class RouteTiming:
    """Of a route's recent submissions, from being sent to being stored."""

    median: timedelta
    percentile_95: timedelta
    webhooks_reliable: bool  # webhooks have told of nearly all of them


@ttl_cache(lambda: CACHE_SECONDS)
def for_route(route_id: UUID) -> RouteTiming | None:
    """None where fewer than MIN_SAMPLE submissions have finished."""
    made = ProviderRequest.objects.filter(
        route_id=route_id, state=RequestState.FINISHED, ended_at__isnull=False
    ).order_by("-ended_at")
    recent = list(made.values_list("sent_at", "ended_at", "webhook_received")[:SAMPLE_SIZE])
    if len(recent) < MIN_SAMPLE:
        return None
    took = sorted(ended_at - sent_at for sent_at, ended_at, _ in recent if ended_at)
    told = sum(webhooks_reliable for *_, webhooks_reliable in recent)
    return RouteTiming(
        median=took[len(took) // 2],
        percentile_95=took[len(took) * 95 // 100],
        webhooks_reliable=told >= RELIABLE_SHARE * len(recent),
    )


def backoff(tries: int) -> timedelta:
    """2, 4, 8, 16, 30, 30 … seconds, as the settings have it."""
    seconds = min(settings.POLL_FIRST_SECONDS * 2 ** min(tries, 10), settings.POLL_LONGEST_SECONDS)
    return timedelta(seconds=seconds)


def first_poll_delay(timing: RouteTiming | None) -> timedelta:
    """How long after its being accepted a job is looked at first."""
    return max(
        backoff(0), timing.percentile_95 if timing and timing.webhooks_reliable else timedelta()
    )
