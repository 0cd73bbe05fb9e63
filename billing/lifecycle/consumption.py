"""Answer Apple's consumption requests.

At least once, within Apple's deadline, with the facts at the time of the answer. A repeated
request, or an override by support, is answered again.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

import structlog
from django.conf import settings

from accounts import queries as account_queries
from accounts.models import ConsentKind
from billing.appstore import client
from billing.due_work import ANSWER_CONSUMPTION
from billing.errors import StoreUnavailable
from billing.models import ConsumptionRequest, Environment, RefundPolicy
from billing.services import consumption
from rendio.common.background.due_work import due_work

logger = structlog.get_logger(__name__)


@due_work(ANSWER_CONSUMPTION, stop_on=StoreUnavailable)
def answer_consumption_request(row: ConsumptionRequest, *, now: datetime) -> None:
    silence = _why_not(row, now=now)
    if silence:
        _close(row, outcome=silence)
        return
    policy = RefundPolicy(row.override or settings.CONSUMPTION_POLICY)
    facts = consumption.build_consumption(row.purchase, policy=policy)
    try:
        client.send_consumption(
            environment=Environment(row.purchase.environment),
            transaction_id=row.purchase.transaction_id,
            consumption=facts,
        )
    except client.Rejected as rejection:
        if not rejection.is_final:
            raise
        logger.warning("consumption_refused", problem=str(rejection))
        _close(row, outcome=f"refused: {rejection}"[:120])
        return
    _close(row, outcome="answered", answer=asdict(facts), answered_at=now)


def _why_not(row: ConsumptionRequest, *, now: datetime) -> str:
    """Return why no answer may or need be sent; "" if one may."""
    purchase = row.purchase
    if row.deadline_at <= now:
        return "too late: Apple's deadline has passed"
    if purchase.is_family_shared:
        return "Apple accepts no answer about a family-shared purchase"
    if purchase.is_free:
        return "free of charge: nothing to refund"
    if purchase.user_id is None:
        return "no owner who could have consented"
    if not account_queries.has_consented(purchase.user_id, ConsentKind.CONSUMPTION):
        return "the customer has not consented"
    return ""


def _close(row: ConsumptionRequest, **result: Any) -> None:
    """Close the request, unless it was repeated or overridden meanwhile: then it is due again."""
    as_seen = ConsumptionRequest.objects.filter(
        id=row.id, requested_at=row.requested_at, override=row.override
    )
    as_seen.update(due_at=None, **result)
    logger.info("consumption_request_closed", outcome=result["outcome"])
