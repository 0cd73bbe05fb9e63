"""Whether new orders can be taken, as this process knew a few seconds ago.

Read with the catalogue, so that no order waits for it: a promise about the next minutes, not a
guard. What is really sent, the claim decides (generation.lifecycle.submit).
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

# Somebody may raise a cap before its period is over.
MAX_CAP_WAIT = timedelta(hours=1)


@dataclass(frozen=True)
class Availability:
    in_maintenance: bool = False
    unavailable_until: dict[ProviderKey, datetime] = field(default_factory=dict)

    def wait_seconds(self, keys: Iterable[ProviderKey], now: datetime) -> int:
        """How long until one of these keys may be used again; 0 where one may now. Not for none."""
        shortest = min((self.unavailable_until.get(key, now) - now).total_seconds() for key in keys)
        return max(math.ceil(shortest), 0)


def read() -> Availability:
    """The switch, the breakers that are open or wait for their probe, and the caps that have been
    reached."""
    shut = ProviderHealth.objects.exclude(open_until=None)
    return Availability(
        in_maintenance=Maintenance.objects.filter(is_on=True).exists(),
        unavailable_until={row.key: row.open_until for row in shut if row.open_until}
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
