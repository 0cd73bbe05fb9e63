"""Acts upon the running of the service. Each is one transaction of its own: the effect, and the
record of who did it, why, and what it was before and after (adminops.actions.audit)."""

from __future__ import annotations

from typing import Any, Unpack
from uuid import UUID

from django.db import transaction

from adminops.actions import approvals
from adminops.actions.approvals import Effect, Intent, Kind, Stake, carry_out
from adminops.actions.audit import Who, admitted, record_act
from adminops.actions.jobs import stake_of_delivery, stake_of_fetching
from adminops.models import AdminAction, PendingApproval
from generation import services as generation_services
from generation.dispatch import circuit_breaker
from generation.lifecycle import dead_letters, manual
from generation.models import (
    MAINTENANCE_ID,
    DeadKind,
    DeadLetter,
    DeadState,
    Job,
    ProviderHealth,
)
from rendio.common.errors import InvalidState, NotFound
from rendio.common.times import iso


@transaction.atomic(durable=True)
def reset_provider(*, health_id: UUID, **who: Unpack[Who]) -> None:
    """Close the breaker of a key at a provider. Raises Forbidden, InvalidInput, NotFound."""
    who = admitted(AdminAction.RESET_PROVIDER, who)
    health = ProviderHealth.objects.select_for_update().filter(id=health_id).first()
    if health is None:
        raise NotFound
    before = _standing(health)
    circuit_breaker.close(health, now=who["now"])
    record_act(
        AdminAction.RESET_PROVIDER,
        who,
        subject_id=health_id,
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
def switch_maintenance(*, is_on: bool, **who: Unpack[Who]) -> None:
    """Stop new orders, or take them again; what was ordered goes on. Raises Forbidden,
    InvalidInput."""
    who = admitted(AdminAction.SWITCH_MAINTENANCE, who)
    was_on = generation_services.switch_maintenance(
        is_on=is_on, reason=who["reason"], now=who["now"]
    )
    record_act(
        AdminAction.SWITCH_MAINTENANCE,
        who,
        subject_id=MAINTENANCE_ID,
        before={"is_on": was_on},
        after={"is_on": is_on},
    )


@transaction.atomic(durable=True)
def retry_dead_letter(*, letter_id: UUID, **who: Unpack[Who]) -> PendingApproval | None:
    """Try once more what failed for good. Raises Forbidden, InvalidInput, NotFound,
    InvalidState."""
    came: PendingApproval | None = carry_out(
        AdminAction.RETRY_DEAD_LETTER,
        admitted(AdminAction.RETRY_DEAD_LETTER, who),
        subject_id=letter_id,
    )
    return came


@transaction.atomic(durable=True)
def dismiss_dead_letter(*, letter_id: UUID, **who: Unpack[Who]) -> None:
    """Nothing is to be done about it. Raises Forbidden, InvalidInput, NotFound, InvalidState."""
    who = admitted(AdminAction.DISMISS_DEAD_LETTER, who)
    letter = _open_letter(letter_id)
    before = _of_letter(letter)
    dead_letters.close(letter, DeadState.DISMISSED, now=who["now"])
    record_act(
        AdminAction.DISMISS_DEAD_LETTER,
        who,
        subject_id=letter_id,
        before=before,
        after={"state": letter.state},
    )


def _stake_of_retry(intent: Intent) -> Stake:
    """Of a job that has ended, and was refunded, the video is fetched."""
    letter = DeadLetter.objects.filter(id=intent.subject).first()
    if letter is None:
        raise NotFound
    if letter.kind == DeadKind.DELIVERY:
        return stake_of_delivery(UUID(letter.subject))
    if (
        letter.kind in {DeadKind.JOB, DeadKind.RESULT}
        and Job.objects.filter(id=letter.subject).exists()
    ):
        return stake_of_fetching(manual.lock_job(UUID(letter.subject)))
    return Stake()


def _retry(intent: Intent, who: Who) -> Effect:
    letter = _open_letter(intent.subject)
    before = _of_letter(letter)
    dead_letters.retry(letter, now=intent.now)
    return Effect(letter.id, before, {"state": letter.state})


def _open_letter(letter_id: UUID) -> DeadLetter:
    letter = DeadLetter.objects.select_for_update().filter(id=letter_id).first()
    if letter is None:
        raise NotFound
    if letter.state != DeadState.OPEN:
        raise InvalidState(problem=f"This letter is {letter.state} already.")
    return letter


def _of_letter(letter: DeadLetter) -> dict[str, Any]:
    return {"state": letter.state, "subject": str(letter), "times": letter.times}


approvals.register(
    AdminAction.RETRY_DEAD_LETTER,
    Kind(
        _stake_of_retry,
        _retry,
        lambda approval: [("Credits of the job", approval.amount)],
    ),
)
