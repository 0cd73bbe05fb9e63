"""What one person's orders may cost us at providers: a fee for endings that cost us, and a limit
for a day.

A job that its user ends after the provider has begun, or whose input the provider refuses, is not
delivered, and the provider takes its price all the same. CANCEL_FREE_COUNT such endings of one
person within CANCEL_FREE_DAYS are ours. Beyond them the refund leaves out what the provider took,
up to `cancel_fee` of the job, which the answer to the order has named. A job that may end for free
counts as one of the free ones until it has ended: otherwise any number could be ordered at once.

Whose users are one person, accounts knows (accounts.services.related_users). Two users of one
person may order in the same instant and not see each other's order; the orders of one user are kept
apart by the lock of the wallet.
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

# Every job has ended within this time: its deadlines are shorter together.
MAX_JOB_DURATION = timedelta(days=1)


@dataclass(frozen=True)
class Exposure:
    """`cancel_fee` in credits; `spent_usd` today at providers, unended jobs at their price;
    `held_until` where moderation lets the user start nothing."""

    cancel_fee: int
    spent_usd: Decimal
    held_until: datetime | None


# Both lists come by an index of the person's own jobs.
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
    """What an order at this price would be told. One query.

    `max_cost_usd` is the most that a provider may take for it.
    """
    parameters = _parameters(user_id, max_cost_usd=max_cost_usd, credits=credits, now=now)
    with db.prepared_cursor() as cursor:
        cursor.execute(
            f"{_USAGE_CTES} SELECT {_CANCEL_FEE_SQL}, {_SPENT_USD_SQL}, {_HELD_UNTIL_SQL}",
            parameters,
        )
        return Exposure(*cursor.fetchone())


def insert_job(job: Job, *, max_cost_usd: Decimal, now: datetime) -> Exposure:
    """Insert a new job with its `cancel_fee`, in one statement.

    Joins the caller's transaction, which has the wallet locked, and rolls back on a refusal. Raises
    GeneratingHeld, and RateLimited where the person's orders of today would cost more than
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
    """So many credits are worth what a provider takes, rounded up; never more than `most`."""
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
