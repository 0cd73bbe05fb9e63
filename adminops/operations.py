"""Acts upon the running of the service. Each is one transaction of its own: the effect, and the
record of who did it, why, and what it was before and after (adminops.services)."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from accounts.models import User
from adminops.errors import InvalidState, NotFound
from adminops.models import Action
from adminops.services import checked_reason, record_act
from generation import services as generation_services
from generation.lifecycle import breaker, dead
from generation.models import MAINTENANCE_ID, DeadLetter, DeadState, ProviderHealth
from rendio.common.times import iso


@transaction.atomic(durable=True)
def reset_provider(
    *, health_id: UUID, reason: str, acting_user: User, now: datetime, act_id: UUID | None = None
) -> None:
    """Close the breaker of a key at a provider at once. Raises InvalidInput, NotFound."""
    reason = checked_reason(reason)
    health = ProviderHealth.objects.select_for_update().filter(id=health_id).first()
    if health is None:
        raise NotFound
    before = _standing(health)
    breaker.close(health, now=now)
    record_act(
        Action.RESET_PROVIDER,
        subject_id=health_id,
        reason=reason,
        acting_user=acting_user,
        now=now,
        act_id=act_id,
        before=before,
        after=_standing(health),
    )


def _standing(health: ProviderHealth) -> dict[str, Any]:
    return {
        "key": f"{health.provider} {health.key_label}",
        "state": health.state,
        "failures": health.failures,
        "open_until": iso(health.open_until),
        "paused_until": iso(health.paused_until),
    }


@transaction.atomic(durable=True)
def switch_maintenance(
    *, is_on: bool, reason: str, acting_user: User, now: datetime, act_id: UUID | None = None
) -> None:
    """Stop new orders, or take them again; what was ordered goes on. Raises InvalidInput."""
    reason = checked_reason(reason)
    was_on = generation_services.switch_maintenance(is_on=is_on, reason=reason, now=now)
    record_act(
        Action.SWITCH_MAINTENANCE,
        subject_id=MAINTENANCE_ID,
        reason=reason,
        acting_user=acting_user,
        now=now,
        act_id=act_id,
        before={"is_on": was_on},
        after={"is_on": is_on},
    )


def retry_dead_letter(
    *, letter_id: UUID, reason: str, acting_user: User, now: datetime, act_id: UUID | None = None
) -> None:
    """Try once more what failed for good. Raises InvalidInput, NotFound, InvalidState."""
    _close_dead_letter(Action.RETRY_DEAD_LETTER, letter_id, reason, acting_user, now, act_id)


def dismiss_dead_letter(
    *, letter_id: UUID, reason: str, acting_user: User, now: datetime, act_id: UUID | None = None
) -> None:
    """Nothing is to be done about it. Raises InvalidInput, NotFound, InvalidState."""
    _close_dead_letter(Action.DISMISS_DEAD_LETTER, letter_id, reason, acting_user, now, act_id)


@transaction.atomic(durable=True)
def _close_dead_letter(
    action: Action,
    letter_id: UUID,
    reason: str,
    acting_user: User,
    now: datetime,
    act_id: UUID | None,
) -> None:
    reason = checked_reason(reason)
    letter = DeadLetter.objects.select_for_update().filter(id=letter_id).first()
    if letter is None:
        raise NotFound
    if letter.state != DeadState.OPEN:
        raise InvalidState(problem=f"This letter is {letter.state} already.")
    if action == Action.RETRY_DEAD_LETTER:
        dead.retry(letter, now=now)
    else:
        dead.close(letter, DeadState.DISMISSED, now=now)
    record_act(
        action,
        subject_id=letter_id,
        reason=reason,
        acting_user=acting_user,
        now=now,
        act_id=act_id,
        before={"state": DeadState.OPEN, "subject": str(letter), "times": letter.times},
        after={"state": letter.state},
    )
