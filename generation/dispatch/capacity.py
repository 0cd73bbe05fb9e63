"""Free slots of each provider key: as many as its circuit breaker, its concurrency limit and the
provider's spend cap leave. Some slots of a limit are for images alone, so that videos, which take
minutes, never have all of them."""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime
from decimal import Decimal

from django.conf import settings
from django.db.models import Count

from generation import spend
from generation.catalogue.routing import provider_keys
from generation.dispatch import circuit_breaker
from generation.models import (
    IN_FLIGHT,
    ProviderHealth,
    ProviderKey,
    ProviderRequest,
    media_kind,
)
from generation.providers import provider_choices


class Capacity:
    """For the jobs of one queue. Locks the health rows, so the numbers are exact until the caller's
    transaction ends."""

    def __init__(self, *, queue: str, now: datetime) -> None:
        keys = [key for name, _ in provider_choices() for key in provider_keys(name)]
        self._health = circuit_breaker.lock_health(keys)
        by_queue = _count_in_flight()
        self._load: Counter[ProviderKey] = Counter()
        for (key, _queue), count in by_queue.items():
            self._load[key] += count
        self._own_load = {key: by_queue[key, queue] for key in keys}
        self._has_images = media_kind(queue) == "image"
        self._remaining_usd = spend.remaining_usd(now=now)
        self._allowed = {
            key: health.max_submissions(now) if self._is_under_cap(key.provider) else 0
            for key, health in self._health.items()
        }
        self._free = {
            key: min(self._allowed[key], self._within_limit(key)) for key in self._allowed
        }

    def _within_limit(self, key: ProviderKey) -> float:
        limit = settings.PROVIDER_MAX_CONCURRENT.get(key.provider)
        if limit is None:
            return math.inf
        free = limit - self._load[key]
        if not self._has_images:
            for_images = limit * settings.PROVIDER_SLOTS_FOR_IMAGES_PERCENT // 100
            free = min(free, limit - for_images - self._own_load[key])
        return max(free, 0)

    def is_healthy(self, provider_name: str) -> bool:
        """Whether a key's breaker is closed and the provider is below its spend cap."""
        return any(self._allowed.get(key, 0) == math.inf for key in provider_keys(provider_name))

    def is_unavailable(self, provider_name: str) -> bool:
        """Whether no key of the provider accepts anything, not even a probe."""
        return not any(self._allowed.get(key, 0) for key in provider_keys(provider_name))

    def has_capacity(self, provider_name: str) -> bool:
        return any(self._free.get(key, 0) >= 1 for key in provider_keys(provider_name))

    def _is_under_cap(self, provider_name: str) -> bool:
        return self._remaining_usd.get(provider_name, Decimal(1)) > 0

    def reserve(self, provider_name: str, *, cost_usd: Decimal) -> ProviderHealth | None:
        """Reserve a slot on the provider's least-loaded key. None if all keys are at their limit or
        the spend cap is reached."""
        free = [key for key in provider_keys(provider_name) if self._free.get(key, 0) >= 1]
        if not (free and self._is_under_cap(provider_name)):
            return None
        if provider_name in self._remaining_usd:
            self._remaining_usd[provider_name] -= cost_usd
        key = min(free, key=lambda key: self._load[key])
        self._free[key] -= 1
        self._load[key] += 1
        return self._health[key]


def _count_in_flight() -> Counter[tuple[ProviderKey, str]]:
    """Open submissions by key and queue, those of unknown outcome included."""
    rows = (
        ProviderRequest.objects.filter(ended_at=None, job__stage__in=IN_FLIGHT)
        .values_list("provider", "key_label", "job__queue")
        .annotate(Count("id"))
        .order_by()
    )
    return Counter(
        {(ProviderKey(provider, label), queue): count for provider, label, queue, count in rows}
    )
