"""Acts upon the running of the service. Each is one transaction of its own: the effect, and the
record of who did it, why, and what it was before and after (adminops.acting)."""

from __future__ import annotations

from typing import Any, Unpack
from uuid import UUID

from django.db import transaction

from adminops.acting import Who, admitted, record_act
from adminops.errors import InvalidState, NotFound
from adminops.models import Action
from generation import services as generation_services
from generation.lifecycle import breaker, dead
from generation.models import MAINTENANCE_ID, DeadLetter, DeadState, ProviderHealth
from rendio.common.times import iso


@transaction.atomic(durable=True)
def reset_provider(*, health_id: UUID, **who: Unpack[Who]) -> None:
    """Close the breaker of a key at a provider. Raises Forbidden, InvalidInput, NotFound."""
    who = admitted(Action.RESET_PROVIDER, who)
    health = ProviderHealth.objects.select_for_update().filter(id=health_id).first()
    if health is None:
        raise NotFound
    before = _standing(health)
    breaker.close(health, now=who["now"])
    record_act(
        Action.RESET_PROVIDER, who, subject_id=health_id, before=before, after=_standing(health)
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
def switch_maintenance(*, is_on: bool, **who: Unpack[Who]) -> None:
    """Stop new orders, or take them again; what was ordered goes on. Raises Forbidden,
    InvalidInput."""
    who = admitted(Action.SWITCH_MAINTENANCE, who)
    was_on = generation_services.switch_maintenance(
        is_on=is_on, reason=who["reason"], now=who["now"]
    )
    record_act(
        Action.SWITCH_MAINTENANCE,
        who,
        subject_id=MAINTENANCE_ID,
        before={"is_on": was_on},
        after={"is_on": is_on},
    )


def retry_dead_letter(*, letter_id: UUID, **who: Unpack[Who]) -> None:
    """Try once more what failed for good. Raises Forbidden, InvalidInput, NotFound,
    InvalidState."""
    _close_dead_letter(Action.RETRY_DEAD_LETTER, letter_id, who)


def dismiss_dead_letter(*, letter_id: UUID, **who: Unpack[Who]) -> None:
    """Nothing is to be done about it. Raises Forbidden, InvalidInput, NotFound, InvalidState."""
    _close_dead_letter(Action.DISMISS_DEAD_LETTER, letter_id, who)


@transaction.atomic(durable=True)
def _close_dead_letter(
    action: Action,
    letter_id: UUID,
    who: Who,
) -> None:
    who = admitted(action, who)
    letter = DeadLetter.objects.select_for_update().filter(id=letter_id).first()
    if letter is None:
        raise NotFound
    if letter.state != DeadState.OPEN:
        raise InvalidState(problem=f"This letter is {letter.state} already.")
    if action == Action.RETRY_DEAD_LETTER:
        dead.retry(letter, now=who["now"])
    else:
        dead.close(letter, DeadState.DISMISSED, now=who["now"])
    record_act(
        action,
        who,
        subject_id=letter_id,
        before={"state": DeadState.OPEN, "subject": str(letter), "times": letter.times},
        after={"state": letter.state},
    )
