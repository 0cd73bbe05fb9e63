"""Moderation checks of prompts, images and results.

Nothing here runs within a transaction or under a lock, because a moderator may use the network.
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
from generation.models import InputKind, Sanction
from generation.moderation import sanctions
from generation.moderation.base import (
    Content,
    Flag,
    ImageContent,
    Moderator,
    ModeratorUnavailable,
    TextContent,
)
from generation.moderation.blocklist import blocklist
from generation.moderation.openai import OpenAI
from rendio.common.observability.metrics import moderated

logger = structlog.get_logger(__name__)

_moderators: dict[str, Moderator] = {
    moderator.name: moderator for moderator in (blocklist, OpenAI())
}


def is_enabled() -> bool:
    return bool(settings.MODERATION)


def third_parties() -> set[str]:
    """Return the third parties that receive the users' content."""
    asked = (_moderators[name].third_party for name in settings.MODERATION)
    return {party for party in asked if party}


def require_allowed_prompt(*, attempt: IdempotentRequest, prompt: str, now: datetime) -> None:
    """Require that moderation allows a prompt.

    Raises ContentRejected, GeneratingHeld if the user is on hold, ModerationUnavailable. A
    rejection is recorded in its own transaction. Does nothing if moderation is off. Without a
    prompt, only a hold is looked for.
    """
    _require_no_hold(attempt.user_id, now=now)
    if not prompt:
        return
    named = f"{attempt.operation} {attempt.key} {attempt.fingerprint}".encode()
    _require_allowed(TextContent(prompt), InputKind.PROMPT, attempt.user_id, named, now=now)


def require_allowed_draft(*, user_id: UUID, prompt: str, now: datetime) -> None:
    """Require that moderation allows a prompt that is not an order yet. Raises like
    `require_allowed_prompt`. The same prompt again is no further violation."""
    if not is_enabled():
        return
    _require_no_hold(user_id, now=now)
    named = f"improve-prompt {prompt}".encode()
    _require_allowed(TextContent(prompt), InputKind.PROMPT, user_id, named, now=now)


def require_allowed_image(*, user_id: UUID, jpeg: bytes, now: datetime) -> None:
    """Require that moderation allows an image. Raises like `require_allowed_prompt`, and
    ConsentRequired if a third party would receive the image without the user's consent."""
    if not is_enabled():
        return
    _require_no_hold(user_id, now=now)
    if settings.REQUIRE_AI_CONSENT and (parties := third_parties()):
        account_queries.require_ai_consent(user_id=user_id, providers=parties)
    _require_allowed(ImageContent(jpeg), InputKind.IMAGE, user_id, jpeg, now=now)


def check_result(jpegs: Iterable[bytes]) -> Flag | None:
    """Return the first flag for these JPEGs of a result. Raises ModeratorUnavailable like `check`.

    Uses no database: results are checked in parallel threads.
    """
    return next(filter(None, (check(ImageContent(jpeg)) for jpeg in jpegs)), None)


def check(content: Content) -> Flag | None:
    """Return the first moderator's flag. None: allowed.

    Raises ModeratorUnavailable if a moderator is unavailable and MODERATION_WHEN_UNREACHABLE is
    "refuse".
    """
    for name in settings.MODERATION:
        try:
            flag = _moderators[name].check(content)
        except ModeratorUnavailable as problem:
            logger.warning("moderation_out_of_reach", moderator=name, problem=str(problem))
            moderated.labels(name, "out_of_reach").inc()
            if settings.MODERATION_WHEN_UNREACHABLE == "refuse":
                raise
        else:
            moderated.labels(name, "refused" if flag else "allowed").inc()
            if flag:
                return flag
    return None


def _require_no_hold(user_id: UUID, *, now: datetime) -> None:
    if until := sanctions.hold_ends_at(user_id, now=now):
        raise GeneratingHeld(until=until, now=now)


def _require_allowed(
    content: Content, input: InputKind, user_id: UUID, attempt: bytes, *, now: datetime
) -> None:
    try:
        flag = check(content)
    except ModeratorUnavailable:
        raise ModerationUnavailable from None
    if flag:
        violation = sanctions.record_violation(
            user_id=user_id, input=input, flag=flag, attempt=attempt, now=now
        )
        step = violation.sanction_at(now)
        until = violation.held_until if step == Sanction.HOLD else None
        raise ContentRejected(input=input, step=step, until=until)
