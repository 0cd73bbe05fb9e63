"""The improvement of a prompt: permission, moderation, cost."""

from __future__ import annotations

import threading
from datetime import datetime
from uuid import UUID

import structlog
from django.conf import settings
from django.utils.crypto import salted_hmac

from accounts import queries as account_queries
from generation import spend
from generation.errors import ModerationUnavailable, PromptNotImproved
from generation.moderation import screening
from generation.moderation.base import ModeratorUnavailable, TextContent
from generation.prompt_helper import openrouter
from generation.prompt_helper.openrouter import Improved
from rendio.common.errors import InvalidState
from rendio.common.observability import metrics

logger = structlog.get_logger(__name__)

PROVIDER = "openrouter"
# A slow OpenRouter must leave most threads to other calls.
_slots = threading.BoundedSemaphore(max(settings.WEB_THREADS // 4, 1))


def improve(
    *, user_id: UUID, prompt: str, kind: str, language: str | None, now: datetime
) -> Improved:
    """Improve a valid prompt. `language` is a code of settings.LANGUAGES; None: the prompt's own.

    Opens transactions of its own for violations and for the cost, and holds none while OpenRouter
    works. Raises InvalidState if the helper is off, ConsentRequired, and like
    `screening.require_allowed_draft`; PromptNotImproved for any failure.
    """
    if not settings.OPENROUTER_MODELS:
        raise InvalidState(problem="The prompt helper is off.")
    if settings.REQUIRE_AI_CONSENT:
        providers = {PROVIDER} | screening.third_parties()
        account_queries.require_ai_consent(user_id=user_id, providers=providers)
    screening.require_allowed_draft(user_id=user_id, prompt=prompt, now=now)
    if not _slots.acquire(blocking=False):
        raise PromptNotImproved
    try:
        improved = _ask(prompt, user_id=user_id, kind=kind, language=language, now=now)
    finally:
        _slots.release()
    _require_allowed_answer(improved)
    metrics.prompts_improved.labels("improved").inc()
    return improved


def _ask(prompt: str, *, user_id: UUID, kind: str, language: str | None, now: datetime) -> Improved:
    """Book the highest cost before the call, and its own cost after it: a process that ends in
    between leaves too much in the books, never too little."""
    if spend.remaining_usd(now=now).get(PROVIDER, settings.OPENROUTER_MAX_USD) <= 0:
        _log_failure("spend cap reached")
        raise PromptNotImproved
    spend.book(PROVIDER, settings.OPENROUTER_MAX_USD, now=now)
    pseudonym = salted_hmac("rendio.openrouter.user", str(user_id), algorithm="sha256")
    outcome = openrouter.improve(
        prompt, kind=kind, language=language, user=pseudonym.hexdigest()[:32]
    )
    spend.book(PROVIDER, outcome.cost_usd - settings.OPENROUTER_MAX_USD, now=now)
    if isinstance(outcome.result, openrouter.NotImproved):
        _log_failure(str(outcome.result))
        raise PromptNotImproved
    return outcome.result


def _require_allowed_answer(improved: Improved) -> None:
    """What a model writes is not the user's violation. Raises PromptNotImproved,
    ModerationUnavailable."""
    text = "\n".join([improved.prompt, *improved.changes])
    try:
        flag = screening.check(TextContent(text))
    except ModeratorUnavailable:
        raise ModerationUnavailable from None
    if flag:
        _log_failure("answer flagged by moderation")
        raise PromptNotImproved


def _log_failure(problem: str) -> None:
    logger.warning("prompt_not_improved", problem=problem)
    metrics.prompts_improved.labels("failed").inc()
