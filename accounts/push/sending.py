"""Send due pushes. A push belongs to one worker for at least a minute, longer than a batch takes; a
worker that dies leaves its pushes due."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import NamedTuple

import structlog

from accounts.apple import apns, apns_token
from accounts.apple.apns import ApnsResponse, ApnsResult
from accounts.due_work import SEND_PUSHES
from accounts.models import Push, PushOutcome, PushToken
from accounts.push import outbox
from accounts.push.messages import message_for
from rendio.common.background.due_rows import claim_due, for_each_logged
from rendio.common.background.due_work import due_batch
from rendio.common.observability import metrics
from rendio.common.outbound import http2

logger = structlog.get_logger(__name__)

BATCH = SEND_PUSHES.batch
THREADS = 4


class Delivery(NamedTuple):
    push: Push
    token: PushToken


@due_batch(SEND_PUSHES)
def send_due(*, now: datetime) -> int:
    """Send a batch. Returns how many were due, or 0 if trying on at once would fail the same way.

    The first one is sent alone: while Apple refuses everything, a batch costs one request.
    """
    due = claim_due(Push.objects.all(), now=now, limit=BATCH)
    deliveries = _resolve_tokens(due, now=now)
    for part in (deliveries[:1], deliveries[1:]):
        if not _send(part, now=now):
            return 0
    return len(due)


def _resolve_tokens(due: Sequence[Push], *, now: datetime) -> list[Delivery]:
    """The pushes that can still be sent, with their tokens. The others are finished here."""
    tokens = PushToken.objects.select_related("user").in_bulk([push.token_id for push in due])
    deliveries: list[Delivery] = []

    def address(push: Push) -> None:
        token = tokens.get(push.token_id)
        if not outbox.is_enabled():
            outbox.finish(push, PushOutcome.OFF, now=now)
        elif push.expires_at <= now:
            outbox.finish(push, PushOutcome.EXPIRED, now=now, reason=push.reason)
        elif token is None or token.user_id != push.user_id:
            outbox.finish(push, PushOutcome.GONE, now=now)
        else:
            deliveries.append(Delivery(push, token))

    for_each_logged(due, address)
    return deliveries


def _send(deliveries: list[Delivery], *, now: datetime) -> bool:
    """Send concurrently. False if Apple accepts nothing from us at the moment."""
    if not deliveries:
        return True
    ours = apns_token.current()
    answers = _post(deliveries, ours)
    late = [number for number, one in enumerate(answers) if one.result is ApnsResult.TOKEN_EXPIRED]
    if late and (fresh := apns_token.replace(ours)):
        for number, again in zip(late, _post([deliveries[n] for n in late], fresh), strict=True):
            answers[number] = again
    taken: list[bool] = []

    def apply(answered: tuple[Delivery, ApnsResponse]) -> None:
        taken.append(_record_result(*answered, now=now))

    # A push that cannot be recorded is sent again; the others are recorded.
    for_each_logged(zip(deliveries, answers, strict=True), apply)
    return all(taken)


def _post(deliveries: list[Delivery], ours: str) -> list[ApnsResponse]:
    def ask(delivery: Delivery) -> ApnsResponse:
        push, token = delivery
        try:
            text = message_for(push, language=token.user.language)
            return apns.send(push, token, text, provider_token=ours)
        except Exception:
            logger.exception("push_failed", push_id=str(push.id))
            return ApnsResponse(ApnsResult.THROTTLED, "our own fault")

    with ThreadPoolExecutor(max_workers=min(len(deliveries), THREADS)) as pool:
        return list(pool.map(ask, deliveries))


def _record_result(delivery: Delivery, answer: ApnsResponse, *, now: datetime) -> bool:
    """Record the result. A push that is not finished is due again when its lease ends."""
    push, token = delivery
    match answer.result:
        case ApnsResult.SENT:
            outbox.finish(push, PushOutcome.SENT, now=now)
        case ApnsResult.UNREGISTERED:
            _unregister(push, token, answer, now=now)
        case ApnsResult.REQUEST_REJECTED:
            logger.error("push_refused", push_id=str(push.id), reason=answer.reason)
            outbox.finish(push, PushOutcome.REFUSED, now=now, reason=answer.reason)
        case ApnsResult.THROTTLED:
            _retry_later(push, answer)
        case ApnsResult.UNAVAILABLE:
            logger.warning("push_service_out_of_order", reason=answer.reason)
            http2.close_connections()
            _retry_later(push, answer)
            return False
        case ApnsResult.CREDENTIALS_REJECTED | ApnsResult.TOKEN_EXPIRED:
            logger.error("push_not_allowed", reason=answer.reason, environment=token.environment)
            _retry_later(push, answer, credentials_rejected=True)
            return False
    return True


def _unregister(push: Push, token: PushToken, answer: ApnsResponse, *, now: datetime) -> None:
    """Delete the token, unless the phone registered again after Apple found it gone."""
    gone = PushToken.objects.filter(id=token.id, registered_at=token.registered_at)
    if answer.gone_at:
        gone = gone.filter(registered_at__lte=answer.gone_at)
    if gone.delete()[0]:
        logger.info("push_phone_gone", reason=answer.reason, environment=token.environment)
        outbox.finish(push, PushOutcome.UNREGISTERED, now=now, reason=answer.reason)
    else:
        _retry_later(push, answer)


def _retry_later(push: Push, answer: ApnsResponse, *, credentials_rejected: bool = False) -> None:
    unchanged = Push.objects.filter(id=push.id, due_at=push.due_at)
    unchanged.update(reason=answer.reason, blocked_by_credentials=credentials_rejected)
    metrics.pushes.labels(push.kind, "held" if credentials_rejected else "postponed").inc()
