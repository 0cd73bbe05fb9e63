"""Limits on the cost of a person's jobs at providers: a cancel fee and a daily limit.

A job that its user cancels after the provider has started, or whose input the provider rejects, is
not delivered, but the provider charges for it. We bear CANCEL_FREE_COUNT such jobs of a person
within CANCEL_FREE_DAYS. For each further one the refund is reduced by the provider's price, up to
the job's `cancel_fee`, which the response to the order stated. A job that may still end for free
counts as free until it has ended; otherwise any number could be ordered at once.

A person is a set of related users (accounts.services.related_users). Two users of one person may
order at the same instant without seeing each other's order. Orders of one user are serialized by
the lock of the wallet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Any
from uuid import UUID

from django.conf import settings

from generation.errors import GeneratingHeld
from generation.spend import Period
from rendio.common import db
from rendio.common.errors import RateLimited
from rendio.common.ids import lowest_uuid7

# Every job has ended within this time: its deadlines together are shorter.
MAX_JOB_DURATION = timedelta(days=1)


@dataclass(frozen=True)
class Exposure:
    """`cancel_fee` is in credits. `held_until` is set while the user is on hold. `is_over_limit`:
    with this order, the person's jobs of today would cost more than PERSON_DAILY_USD."""

    cancel_fee: int
    held_until: datetime | None
    is_over_limit: bool


# The parameters of the function generation_exposure, by name (generation/sql).
PARAMETERS_SQL = """
    user_id => %(user_id)s, now => %(now)s, unended_since => %(unended_since)s,
    today => %(today)s, losses_since => %(losses_since)s, free_count => %(free_count)s,
    fee => %(fee)s, max_cost_usd => %(max_cost_usd)s, most_usd => %(most_usd)s"""
_GET_EXPOSURE = f"""
SELECT cancel_fee, held_until, is_over_limit FROM generation_exposure({PARAMETERS_SQL})
"""  # noqa: S608


def get_exposure(parameters: dict[str, Any]) -> Exposure:
    """Return the exposure of the order that the parameters are for. One query."""
    with db.prepared_cursor() as cursor:
        cursor.execute(_GET_EXPOSURE, parameters)
        return Exposure(*cursor.fetchone())


def require_allowed(exposure: Exposure, *, now: datetime) -> None:
    """Raises GeneratingHeld, and RateLimited if the person's orders of today would cost more than
    PERSON_DAILY_USD.
    """
    if exposure.held_until:
        raise GeneratingHeld(until=exposure.held_until, now=now)
    if exposure.is_over_limit:
        left = Period.DAY.ends_at(now) - now
        raise RateLimited(retry_after=math.ceil(left.total_seconds()))


def usd_to_credits(usd: Decimal, *, most: int) -> int:
    """Convert USD to credits, rounded up and at most `most`."""
    worth = (usd / Decimal(settings.CREDIT_PRICE_USD)).to_integral_value(rounding=ROUND_CEILING)
    return min(int(worth), most)


def parameters(
    user_id: UUID, *, max_cost_usd: Decimal, credits: int, now: datetime
) -> dict[str, Any]:
    """The values of PARAMETERS_SQL for an order at this price."""
    return {
        "user_id": user_id,
        "now": now,
        "unended_since": lowest_uuid7(now - MAX_JOB_DURATION),
        "today": lowest_uuid7(Period.DAY.began_at(now)),
        "losses_since": now - timedelta(days=settings.CANCEL_FREE_DAYS),
        "free_count": settings.CANCEL_FREE_COUNT,
        "fee": usd_to_credits(max_cost_usd, most=credits),
        "max_cost_usd": max_cost_usd,
        "most_usd": settings.PERSON_DAILY_USD or None,
    }
