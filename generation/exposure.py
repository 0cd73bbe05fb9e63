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

from accounts import queries as account_queries
from generation.errors import GeneratingHeld
from generation.models import Job, Stage
from generation.spend import Period
from rendio.common import db
from rendio.common.errors import RateLimited
from rendio.common.ids import lowest_uuid7

# Every job has ended within this time: its deadlines together are shorter.
MAX_JOB_DURATION = timedelta(days=1)


@dataclass(frozen=True)
class Exposure:
    """`cancel_fee` is in credits. `spent_usd` is today's cost at providers, with unfinished jobs at
    their price. `held_until` is set while the user is on hold."""

    cancel_fee: int
    spent_usd: Decimal
    held_until: datetime | None


# Both subqueries use an index of the person's own jobs.
_USAGE_CTES = f"""
WITH person AS ({account_queries.RELATED_USER_IDS_SQL}
), recent AS MATERIALIZED (
    SELECT job.id, job.stage, job.cancel_fee, job.price_usd
    FROM generation_job job JOIN person ON job.user_id = person.id
    WHERE job.id >= %(unended_since)s
), used AS MATERIALIZED (
    SELECT (
        SELECT count(*) FROM recent WHERE stage <> %(done)s AND cancel_fee = 0
    ) + (
        SELECT count(*) FROM generation_job job JOIN person ON job.user_id = person.id
        WHERE job.loss_usd IS NOT NULL AND job.fee_kept = 0 AND job.completed_at > %(window)s
    ) AS free, (
        SELECT COALESCE(sum(CASE WHEN stage <> %(done)s THEN price_usd ELSE (
            SELECT sum(cost_usd) FROM generation_providerrequest WHERE job_id = recent.id
        ) END), 0)
        FROM recent WHERE id >= %(today)s
    ) AS usd
)
"""  # noqa: S608
_CANCEL_FEE_SQL = "(SELECT CASE WHEN free < %(free)s THEN 0 ELSE %(fee)s END FROM used)"
_SPENT_USD_SQL = "(SELECT usd FROM used)"
_HELD_UNTIL_SQL = """(
    SELECT max(held_until) FROM generation_offence
    WHERE user_id = %(user_id)s AND held_until > %(now)s AND forgiven_at IS NULL
)"""


def get_exposure(user_id: UUID, *, max_cost_usd: Decimal, credits: int, now: datetime) -> Exposure:
    """Return the exposure of an order at this price. One query."""
    parameters = _parameters(user_id, max_cost_usd=max_cost_usd, credits=credits, now=now)
    with db.prepared_cursor() as cursor:
        cursor.execute(
            f"{_USAGE_CTES} SELECT {_CANCEL_FEE_SQL}, {_SPENT_USD_SQL}, {_HELD_UNTIL_SQL}",
            parameters,
        )
        return Exposure(*cursor.fetchone())


def insert_job(job: Job, *, max_cost_usd: Decimal, now: datetime) -> Exposure:
    """Insert a new job with its `cancel_fee` in one statement.

    Joins the caller's transaction, which has locked the wallet and rolls back on a refusal. Raises
    GeneratingHeld, and RateLimited if the person's orders of today would cost more than
    PERSON_DAILY_USD.
    """
    row = db.insert(
        job,
        preface=_USAGE_CTES,
        computed={"cancel_fee": _CANCEL_FEE_SQL},
        returning=("cancel_fee", _SPENT_USD_SQL, _HELD_UNTIL_SQL),
        parameters=_parameters(
            job.user_id, max_cost_usd=max_cost_usd, credits=job.credits, now=now
        ),
    )
    exposure = Exposure(*row)
    job.cancel_fee = exposure.cancel_fee
    if exposure.held_until:
        raise GeneratingHeld(until=exposure.held_until, now=now)
    if settings.PERSON_DAILY_USD and exposure.spent_usd + max_cost_usd > settings.PERSON_DAILY_USD:
        left = Period.DAY.ends_at(now) - now
        raise RateLimited(retry_after=math.ceil(left.total_seconds()))
    return exposure


def usd_to_credits(usd: Decimal, *, most: int) -> int:
    """Convert USD to credits, rounded up and at most `most`."""
    worth = (usd / Decimal(settings.CREDIT_PRICE_USD)).to_integral_value(rounding=ROUND_CEILING)
    return min(int(worth), most)


def _parameters(
    user_id: UUID, *, max_cost_usd: Decimal, credits: int, now: datetime
) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "now": now,
        "done": Stage.DONE.value,
        "unended_since": lowest_uuid7(now - MAX_JOB_DURATION),
        "today": lowest_uuid7(Period.DAY.began_at(now)),
        "window": now - timedelta(days=settings.CANCEL_FREE_DAYS),
        "free": settings.CANCEL_FREE_COUNT,
        "fee": usd_to_credits(max_cost_usd, most=credits),
    }
