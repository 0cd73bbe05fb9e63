"""What is due goes out. Each push is one worker's for a minute at least, longer than a batch takes;
whoever dies with it leaves it due again."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import NamedTuple

import structlog

from accounts.apple import apns, apns_token
from accounts.apple.apns import Answer, Verdict
from accounts.models import Outcome, Push, PushToken
from accounts.push import outbox
from accounts.push.messages import text_of
from rendio.common import http2, metrics
from rendio.common.due import claim_due, for_each_logged

logger = structlog.get_logger(__name__)

# With THREADS at once and no more than 13 seconds for each, a batch takes less than a minute.
BATCH = 12
THREADS = 4


class _Letter(NamedTuple):
    push: Push
    token: PushToken


def send_due(*, now: datetime) -> int:
    """Send a batch; returns how many were due, or 0 where looking on at once would meet the same.

    One goes before the others: while Apple takes nothing at all, that costs one request a batch.
    """
    due = claim_due(Push.objects.all(), now=now, limit=BATCH)
    letters = _addressed(due, now=now)
    for part in (letters[:1], letters[1:]):
        if not _send(part, now=now):
            return 0
    return len(due)


def _addressed(due: Sequence[Push], *, now: datetime) -> list[_Letter]:
    """Those that can still be sent, with their phones; the others end here."""
    tokens = PushToken.objects.select_related("user").in_bulk([push.token_id for push in due])
    letters: list[_Letter] = []

    def address(push: Push) -> None:
        token = tokens.get(push.token_id)
        if not outbox.is_on():
            outbox.end(push, Outcome.OFF, now=now)
        elif push.expires_at <= now:
            outbox.end(push, Outcome.EXPIRED, now=now, reason=push.reason)
        elif token is None or token.user_id != push.user_id:
            outbox.end(push, Outcome.GONE, now=now)
        else:
            letters.append(_Letter(push, token))

    for_each_logged(due, address)
    return letters


def _send(letters: list[_Letter], *, now: datetime) -> bool:
    """Send these side by side; False where Apple takes nothing from us at the moment."""
    if not letters:
        return True
    ours = apns_token.current()
    answers = _ask(letters, ours)
    late = [number for number, one in enumerate(answers) if one.verdict is Verdict.TOKEN_EXPIRED]
    if late and (fresh := apns_token.replace(ours)):
        for number, again in zip(late, _ask([letters[n] for n in late], fresh), strict=True):
            answers[number] = again
    taken: list[bool] = []

    def apply(answered: tuple[_Letter, Answer]) -> None:
        taken.append(_apply(*answered, now=now))

    # One that cannot be recorded is sent again; the others were sent, and are recorded.
    for_each_logged(zip(letters, answers, strict=True), apply)
    return all(taken)


def _ask(letters: list[_Letter], ours: str) -> list[Answer]:
    def ask(letter: _Letter) -> Answer:
        push, token = letter
        try:
            text = text_of(push, language=token.user.language)
            return apns.send(push, token, text, provider_token=ours)
        except Exception:
            logger.exception("push_failed", push_id=str(push.id))
            return Answer(Verdict.LATER, "our own fault")

    with ThreadPoolExecutor(max_workers=min(len(letters), THREADS)) as pool:
        return list(pool.map(ask, letters))


def _apply(letter: _Letter, answer: Answer, *, now: datetime) -> bool:
    """Record what came of it. What is not ended is due again when its lease is over."""
    push, token = letter
    match answer.verdict:
        case Verdict.SENT:
            outbox.end(push, Outcome.SENT, now=now)
        case Verdict.PHONE_GONE:
            _forget_phone(push, token, answer, now=now)
        case Verdict.OUR_FAULT:
            logger.error("push_refused", push_id=str(push.id), reason=answer.reason)
            outbox.end(push, Outcome.REFUSED, now=now, reason=answer.reason)
        case Verdict.LATER:
            _postpone(push, answer)
        case Verdict.OUT_OF_ORDER:
            logger.warning("push_service_out_of_order", reason=answer.reason)
            http2.hang_up()
            _postpone(push, answer)
            return False
        case Verdict.NOT_ALLOWED | Verdict.TOKEN_EXPIRED:
            logger.error("push_not_allowed", reason=answer.reason, environment=token.environment)
            _postpone(push, answer, is_our_key=True)
            return False
    return True


def _forget_phone(push: Push, token: PushToken, answer: Answer, *, now: datetime) -> None:
    """Unless it was registered since Apple found it gone: then it is there again."""
    gone = PushToken.objects.filter(id=token.id, registered_at=token.registered_at)
    if answer.gone_at:
        gone = gone.filter(registered_at__lte=answer.gone_at)
    if gone.delete()[0]:
        logger.info("push_phone_gone", reason=answer.reason, environment=token.environment)
        outbox.end(push, Outcome.UNREGISTERED, now=now, reason=answer.reason)
    else:
        _postpone(push, answer)


def _postpone(push: Push, answer: Answer, *, is_our_key: bool = False) -> None:
    as_taken = Push.objects.filter(id=push.id, due_at=push.due_at)
    as_taken.update(reason=answer.reason, is_held=is_our_key)
    metrics.pushes.labels(push.kind, "held" if is_our_key else "postponed").inc()
