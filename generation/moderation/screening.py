"""What is shown to the moderators, and what their word means.

Nothing here runs within a transaction or under a lock: a moderator may be on the network.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import structlog
from django.conf import settings

from accounts import queries as account_queries
from credits.idempotency import IdempotentRequest
from generation.errors import ContentRejected, GeneratingHeld, ModerationUnavailable
from generation.models import Input, Step
from generation.moderation import strikes
from generation.moderation.base import Content, Moderator, Objection, OutOfReach, Picture, Text
from generation.moderation.blocklist import blocklist
from generation.moderation.openai import OpenAI
from rendio.common.metrics import moderated

logger = structlog.get_logger(__name__)

_moderators: dict[str, Moderator] = {one.name: one for one in (blocklist, OpenAI())}


def is_on() -> bool:
    return bool(settings.MODERATION)


def third_parties() -> set[str]:
    """Who gets what users send, to judge it."""
    asked = (_moderators[name].third_party for name in settings.MODERATION)
    return {party for party in asked if party}


def admit_prompt(*, attempt: IdempotentRequest, prompt: str, now: datetime) -> None:
    """Raises ContentRejected, GeneratingHeld for a user who is held, ModerationUnavailable.

    A refusal is on record then, in a transaction of its own. Does nothing while moderation is off.
    """
    _refuse_held(attempt.user_id, now=now)
    named = f"{attempt.operation} {attempt.key} {attempt.fingerprint}".encode()
    _admit(Text(prompt), Input.PROMPT, attempt.user_id, named, now=now)


def admit_picture(*, user_id: UUID, jpeg: bytes, now: datetime) -> None:
    """As `admit_prompt`; raises ConsentRequired too, where it would leave us without consent."""
    if not is_on():
        return
    _refuse_held(user_id, now=now)
    if settings.REQUIRE_AI_CONSENT and (parties := third_parties()):
        account_queries.require_ai_consent(user_id=user_id, providers=parties)
    _admit(Picture(jpeg), Input.IMAGE, user_id, jpeg, now=now)


def judge_result(pictures: Iterable[bytes]) -> Objection | None:
    """The first objection to these JPEGs of one result. Raises OutOfReach, as `judge` does.

    No database is touched: results are judged side by side, in threads.
    """
    return next(filter(None, (judge(Picture(jpeg)) for jpeg in pictures)), None)


def judge(content: Content) -> Objection | None:
    """The first objection. Raises OutOfReach where one cannot be asked and that is to refuse."""
    for name in settings.MODERATION:
        try:
            objection = _moderators[name].judge(content)
        except OutOfReach as problem:
            logger.warning("moderation_out_of_reach", moderator=name, problem=str(problem))
            moderated.labels(name, "out_of_reach").inc()
            if settings.MODERATION_WHEN_UNREACHABLE == "refuse":
                raise
        else:
            moderated.labels(name, "refused" if objection else "allowed").inc()
            if objection:
                return objection
    return None


def _refuse_held(user_id: UUID, *, now: datetime) -> None:
    if until := strikes.held_until(user_id, now=now):
        raise GeneratingHeld(until=until, now=now)


def _admit(content: Content, input: Input, user_id: UUID, attempt: bytes, *, now: datetime) -> None:
    try:
        objection = judge(content)
    except OutOfReach:
        raise ModerationUnavailable from None
    if objection:
        offence = strikes.record(
            user_id=user_id, input=input, objection=objection, attempt=attempt, now=now
        )
        step = offence.step_at(now)
        until = offence.held_until if step == Step.HOLD else None
        raise ContentRejected(input=input, step=step, until=until)
