"""The second half of an order: charge the locked wallet, create the job, store the response."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings

from credits import idempotency
from credits import services as credit_services
from credits.idempotency import IdempotentRequest, StoredResponse
from generation import exposure
from generation.catalogue import routing
from generation.catalogue.orders import Order, ordered_answer
from generation.exposure import Exposure
from rendio.common import db
from rendio.common.errors import Refusal
from rendio.common.ids import uuid7
from rendio.common.observability import request_id

if TYPE_CHECKING:
    from credits.models import Wallet

_CREATE_JOB = f"""
SELECT cancel_fee, held_until, is_over_limit, is_new FROM generation_create_job(
    job_id => %(job_id)s, model_id => %(model_id)s, theme_id => %(theme_id)s,
    retry_of => %(retry_of)s, prompt => %(prompt)s, upload_id => %(upload_id)s,
    second_upload_id => %(second_upload_id)s,
    settings => %(settings)s, credits => %(credits)s, price_usd => %(price_usd)s,
    queue => %(queue)s, deadline_at => %(deadline_at)s, request_id => %(request_id)s,
    is_training => %(is_training)s, trained_model_id => %(trained_model_id)s,
    {exposure.PARAMETERS_SQL},
    operation => %(operation)s, key => %(key)s, fingerprint => %(fingerprint)s,
    response => %(response)s, expires_at => %(expires_at)s,
    wallet_id => %(wallet_id)s, entry_id => %(entry_id)s, quote_id => %(quote_id)s
)
"""  # noqa: S608


@dataclass(frozen=True)
class Sale:
    """The price of an order, in credits and US dollars, and the quote that it is from, if any."""

    credits: int
    price_usd: Decimal
    quote_id: UUID | None = None


def create_job(
    attempt: IdempotentRequest,
    order: Order,
    sale: Sale,
    *,
    wallet: Wallet,
    now: datetime,
    job_id: UUID | None = None,
    build_answer: Callable[..., dict[str, Any]] = ordered_answer,
) -> StoredResponse | None:
    """Charge the locked wallet, create the job, store and return the response, and commit. None,
    with nothing written, if a response is stored for this idempotency key already.

    `build_answer` takes the arguments of `ordered_answer`. One round trip, COMMIT included: the
    last of the caller's transaction, unless the call is in a nested block. Raises like
    `credit_services.check_can_charge` and `exposure.require_allowed`.
    """
    job_id = job_id or uuid7()
    max_cost_usd = routing.max_cost_usd(order.model, order.settings, credits=sale.credits)
    limits = exposure.parameters(
        attempt.user_id, max_cost_usd=max_cost_usd, credits=sale.credits, now=now
    )
    try:
        credit_services.check_can_charge(wallet, sale.credits)
    except Refusal:
        # A hold and the daily limit are named before the balance.
        exposure.require_allowed(exposure.get_exposure(limits), now=now)
        raise
    response = build_answer(
        job_id=job_id,
        settings=order.settings,
        credits=sale.credits,
        credits_remaining=wallet.balance - sale.credits,
        cancel_fee=0,  # replaced by the job's, which the statement returns
    )
    with credit_services.ledger_errors():
        *exposed, is_new = db.commit_with(
            _CREATE_JOB,
            {
                **limits,
                "job_id": job_id,
                "model_id": order.model.id,
                "theme_id": order.theme_id,
                "retry_of": order.retry_of,
                "prompt": order.prompt,
                "upload_id": order.upload_id,
                "second_upload_id": order.second_upload_id,
                "settings": json.dumps(order.settings),
                "credits": sale.credits,
                "price_usd": sale.price_usd,
                "queue": order.model.kind.queue,
                "deadline_at": now + timedelta(seconds=settings.JOB_SUBMIT_DEADLINE_SECONDS),
                "request_id": request_id.current() or "",
                "is_training": order.model.kind.is_training,
                "trained_model_id": order.trained_model_id,
                "operation": attempt.operation,
                "key": attempt.key,
                "fingerprint": attempt.fingerprint,
                "response": json.dumps(response),
                "expires_at": idempotency.expiry(now),
                "wallet_id": wallet.id,
                "entry_id": uuid7(),
                "quote_id": sale.quote_id,
            },
        )
    exposure_of_order = Exposure(*exposed)
    exposure.require_allowed(exposure_of_order, now=now)
    if not is_new:
        return None
    credit_services.count_charge(sale.credits)
    return StoredResponse(200, response | {"cancel_fee_after_start": exposure_of_order.cancel_fee})
