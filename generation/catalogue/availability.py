"""Whether new orders are accepted: maintenance mode, open circuit breakers, reached spend caps.

Cached with the catalogue, so an order costs no query for it. The answer may be some seconds old and
is only a forecast. generation.dispatch.scheduler decides which job is sent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from generation import spend
from generation.models import Maintenance, ProviderHealth, ProviderKey
from generation.providers import find_provider
from rendio.common import clock

# Staff may raise a cap before its period ends.
MAX_CAP_WAIT = timedelta(hours=1)


@dataclass(frozen=True)
class Availability:
    in_maintenance: bool = False
    unavailable_until: dict[ProviderKey, datetime] = field(default_factory=dict)

    def wait_seconds(self, keys: Iterable[ProviderKey], now: datetime) -> int:
        """Seconds until one of these keys is available; 0 if one is now. `keys` is not empty."""
        shortest = min((self.unavailable_until.get(key, now) - now).total_seconds() for key in keys)
        return max(math.ceil(shortest), 0)


def read() -> Availability:
    """Read maintenance mode, circuit breakers that are not closed, and reached spend caps."""
    not_closed = ProviderHealth.objects.exclude(open_until=None)
    return Availability(
        in_maintenance=Maintenance.objects.filter(is_on=True).exists(),
        unavailable_until={row.key: row.open_until for row in not_closed if row.open_until}
        | _capped_keys(),
    )


def _capped_keys() -> dict[ProviderKey, datetime]:
    now = clock.now()
    return {
        ProviderKey(name, label): min(until, now + MAX_CAP_WAIT)
        for name, until in spend.capped_until(now=now).items()
        if (provider := find_provider(name))
        for label in provider.key_labels
    }
