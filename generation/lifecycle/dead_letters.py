"""Dead letters: work that failed permanently, kept for staff to retry or dismiss.

Repeated failures of the same subject are counted in one letter while the letter is open.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import structlog
from django.db.models import F

from generation.due_work import APPLY_WEBHOOKS
from generation.lifecycle import transitions
from generation.models import (
    DeadKind,
    DeadLetter,
    DeadState,
    Job,
    ProviderRequest,
    RequestState,
    Stage,
    WebhookDelivery,
)
from rendio.common.background import wakeup
from rendio.common.errors import InvalidState

logger = structlog.get_logger(__name__)


def record(kind: DeadKind, subject: str, why: str, *, now: datetime) -> None:
    """Create a letter, or count the open one. Joins the caller's transaction, if there is one."""
    logger.error("dead_letter", kind=kind.value, subject=subject, why=why)
    letters = DeadLetter.objects.filter(kind=kind, subject=subject, state=DeadState.OPEN)
    if not letters.update(times=F("times") + 1, last_at=now, why=why[:500]):
        letter = DeadLetter(
            kind=kind, subject=subject[:100], why=why[:500], first_at=now, last_at=now
        )
        DeadLetter.objects.bulk_create([letter], ignore_conflicts=True)


def retry(letter: DeadLetter, *, now: datetime) -> None:
    """Retry the work and close the letter. Another failure creates a new letter.

    Joins the caller's transaction, which has locked the letter. Raises InvalidState if nothing is
    left to retry.
    """
    match letter.kind:
        case DeadKind.TASK:
            task, _, queue = letter.subject.partition(" ")
            wakeup.enqueue_on_commit(
                task, queue=queue or "high", arguments={"queue": queue} if queue else {}
            )
        case DeadKind.DELIVERY:
            reprocess_delivery(UUID(letter.subject))
        case _:
            refetch_result(UUID(letter.subject), now=now)
    close(letter, DeadState.RETRIED, now=now)


def close(letter: DeadLetter, state: DeadState, *, now: datetime) -> None:
    letter.state, letter.closed_at = state, now
    letter.save(update_fields=["state", "closed_at"])


def close_for_delivered_job(job_id: UUID, *, now: datetime) -> None:
    """Close the open letter about the job's result. Joins the caller's transaction."""
    DeadLetter.objects.filter(
        kind=DeadKind.RESULT, subject=str(job_id), state=DeadState.OPEN
    ).update(state=DeadState.RETRIED, closed_at=now)


def reprocess_delivery(delivery_id: UUID) -> None:
    """Process a webhook delivery again. Joins the caller's transaction. Raises InvalidState."""
    deliveries = WebhookDelivery.objects.filter(id=delivery_id)
    if not deliveries.update(processed_at=None, outcome=""):
        raise InvalidState(problem="This delivery has been swept away.")
    APPLY_WEBHOOKS.wake_workers()


def refetch_result(job_id: UUID, *, now: datetime, request_id: UUID | None = None) -> None:
    """Fetch the result of an ended job for its user. The refund stands.

    With `request_id` only if that is the job's latest submission.

    Joins the caller's transaction. Raises InvalidState.
    """
    job = Job.objects.select_for_update(of=("self",)).filter(id=job_id).first()
    request = ProviderRequest.objects.filter(job_id=job_id).order_by("id").last()
    if (
        job is None
        or job.stage != Stage.DONE
        or job.media_name
        or job.deleted_at
        or request is None
        or request_id not in {None, request.id}
        or not (request.provider_request_id or job.original_name)
    ):
        raise InvalidState(problem="There is nothing to fetch for this job.")
    request.state, request.ended_at = RequestState.ACCEPTED, None
    request.save(update_fields=["state", "ended_at"])
    # A file that is stored already is not downloaded again.
    if job.original_name:
        transitions.reopen_to_convert(job, now=now)
    else:
        transitions.reopen_to_store(job, now=now)
