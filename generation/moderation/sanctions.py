"""Sanctions for repeated violations: a warning, a hold (no orders for a time), a ban.

Violations within the window are counted under the lock of the user's wallet, so that simultaneous
violations count each other. Support can clear them.

When: MODERATION_* in settings. The customer's texts: ContentRejected and GeneratingHeld in
generation/errors.py.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.utils.crypto import salted_hmac

from accounts import queries as account_queries
from accounts import services as account_services
from accounts.models import User
from credits import services as credit_services
from generation.models import InputKind, Sanction, Violation
from generation.moderation.base import Flag
from rendio.common.errors import InvalidState, Unauthorized

logger = structlog.get_logger(__name__)


@transaction.atomic(durable=True)
def record_violation(
    *,
    user_id: UUID,
    input: InputKind,
    flag: Flag,
    attempt: bytes,
    now: datetime,
) -> Violation:
    """Record a rejected input and apply the sanction that follows.

    The same `attempt` of the user is the same violation, because a phone that lost the response
    repeats the call. Opens its own transaction. Raises Unauthorized if the account is closed.
    """
    # Wallet before user, the lock order everywhere: otherwise two orders could deadlock.
    credit_services.lock_wallet(user_id=user_id)
    return _add(user_id=user_id, input=input, flag=flag, attempt=attempt, now=now)


def record_provider_rejection(
    *, user_id: UUID, job_id: UUID, provider: str, error_type: str, now: datetime
) -> None:
    """Record that a provider's own moderation rejected a job's prompt or image, once for each job.

    Joins the caller's transaction, which has locked the user's wallet. Does nothing if the account
    is closed.
    """
    flag = Flag(provider, (error_type,))
    attempt = f"job {job_id}".encode()
    with suppress(Unauthorized):
        _add(user_id=user_id, input=InputKind.PROMPT, flag=flag, attempt=attempt, now=now)


def _add(
    *, user_id: UUID, input: InputKind, flag: Flag, attempt: bytes, now: datetime
) -> Violation:
    account_queries.lock_open_account(user_id)
    # A keyed hash: a reader of the table cannot test which image or text it stands for.
    digest = salted_hmac("rendio.offence", user_id.bytes + attempt, algorithm="sha256").hexdigest()
    if known := Violation.objects.filter(user_id=user_id, attempt=digest).first():
        return known
    step = _sanction_for(count=_count_in_window(user_id, now=now) + 1)
    violation = Violation.objects.create(
        user_id=user_id,
        at=now,
        input=input,
        moderator=flag.moderator,
        categories=list(flag.categories),
        term_id=flag.term_id,
        attempt=digest,
        step=step,
        held_until=now + timedelta(hours=settings.MODERATION_HOLD_HOURS)
        if step == Sanction.HOLD
        else None,
    )
    if step == Sanction.BAN:
        why = f"Moderation: too many refused inputs in {settings.MODERATION_WINDOW_DAYS} days"
        account_services.ban_user(user_id=user_id, reason=why, acting_user_id=None, now=now)
    logger.info(
        "content_rejected",
        user_id=str(user_id),
        input=input.value,
        moderator=flag.moderator,
        categories=flag.categories,
        step=step.value,
    )
    return violation


def hold_ends_at(user_id: UUID, *, now: datetime) -> datetime | None:
    """Return until when the user is on hold; None without a hold. One query."""
    holds = Violation.objects.active(user_id).filter(held_until__gt=now)
    return holds.order_by("-held_until").values_list("held_until", flat=True).first()


@dataclass(frozen=True)
class ClearedViolations:
    count: int
    held_until: datetime | None
    was_banned: bool


def clear_violations(*, user_id: UUID, acting_user_id: UUID, now: datetime) -> ClearedViolations:
    """Clear the user's violations and end their sanctions: a hold, and a ban unless support itself
    imposed the ban.

    Joins the caller's transaction. Raises NotFound; InvalidState if the user has no
    violations.
    """
    credit_services.lock_wallet(user_id=user_id)
    user = User.objects.select_for_update(no_key=True).get(id=user_id)
    standing = Violation.objects.active(user_id)
    # A ban by moderation has the violation's time. An earlier or later ban has not.
    banned_here = bool(
        user.suspended_at and standing.filter(step=Sanction.BAN, at=user.suspended_at).exists()
    )
    held = hold_ends_at(user_id, now=now)
    count = standing.update(forgiven_at=now)
    if not count:
        raise InvalidState(problem="There are no violations to clear.")
    if banned_here:
        account_services.unban_user(
            user_id=user_id, reason="violations cleared", acting_user_id=acting_user_id, now=now
        )
    return ClearedViolations(count, held, banned_here)


def _count_in_window(user_id: UUID, *, now: datetime) -> int:
    since = now - timedelta(days=settings.MODERATION_WINDOW_DAYS)
    return Violation.objects.active(user_id).filter(at__gt=since).count()


def _sanction_for(*, count: int) -> Sanction:
    """Return the strongest sanction for this count."""
    for step, after in (
        (Sanction.BAN, settings.MODERATION_BAN_AFTER),
        (Sanction.HOLD, settings.MODERATION_HOLD_AFTER),
        (Sanction.WARNING, settings.MODERATION_WARN_AFTER),
    ):
        if after and count >= after:
            return step
    return Sanction.NONE
