"""On to a model's next route when one came to nothing.

Only where nothing runs any more (refused, or failed over there), or where an unknown outcome has
been waited for until the submit deadline. Each route fails a job once, so this ends; each hop is a
ProviderRequest of its own, and the database lets no two of a job be live.

A submission that was given up as unknown may have told meanwhile that it has ended, while the next
was on its way: what it made is fetched before anybody is asked anew.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import structlog
from django.conf import settings
from django.db import transaction

from generation import queries
from generation.catalogue import routing
from generation.due_work import STORE_RESULTS, SUBMIT_JOBS
from generation.lifecycle import settle
from generation.models import Job, ProviderRequest, RequestState, Stage
from generation.providers.base import FailureReason

logger = structlog.get_logger(__name__)


def try_next_or_fail(
    job: Job,
    reason: FailureReason,
    *,
    now: datetime,
    error_type: str = "",
    detail: str = "",
    cost_usd: Decimal | None = None,
    raw: str = "",
) -> bool:
    """The newest submission came to nothing: on to another route, or else the job's end.

    `cost_usd` is what its provider says that it charged, None where it does not say; `raw` is its
    answer about the result. Opens transactions of its own. False where the job is no longer as it
    was claimed.
    """
    error: settle.ProviderError = {"error_type": error_type, "detail": detail, "cost_usd": cost_usd}
    if _try_next_route(job, reason, now=now, error=error):
        return True
    return settle.fail(job, reason, now=now, raw=raw, **error)


def _try_next_route(
    job: Job, reason: FailureReason, *, now: datetime, error: settle.ProviderError
) -> bool:
    with transaction.atomic(durable=True):
        held = settle.lock_if_claimed(job)
        request = ProviderRequest.objects.filter(job_id=job.id).order_by("-id").first()
        if held is None or request is None or not _is_still_wanted(held):
            return False
        finished_meanwhile = _finished_meanwhile(held)
        if not finished_meanwhile and not _has_next_route(held, request, reason, now=now):
            return False
        settle.close_submission(held, reason, now=now, **error)
        held.tried_routes = [*held.tried_routes, str(request.route_id)]
        # What the next route is expected to take must not make the bar fall.
        held.progress = queries.progress(held, now=now)
        held.tries = 0
        held.due_at = now
        held.leased_until = held.queue_position = None
        if finished_meanwhile:
            _fetch_next(held, finished_meanwhile, now=now)
        else:
            _submit_next(held, now=now)
        held.save(
            update_fields=[
                "tried_routes", "stage", "tries", "due_at", "deadline_at", "leased_until",
                "queue_position", "progress",
            ]
        )  # fmt: skip
    logger.info("next_route", job_id=str(job.id), after=request.provider, reason=reason.value)
    return True


def _is_still_wanted(held: Job) -> bool:
    return not (held.is_terminal or held.deleted_at or settle.is_cancel_requested(held))


def _finished_meanwhile(held: Job) -> ProviderRequest | None:
    unknown = ProviderRequest.objects.filter(job=held, state=RequestState.UNKNOWN)
    return unknown.filter(webhook_received=True).exclude(ended_at=None).order_by("id").first()


def _has_next_route(
    held: Job, request: ProviderRequest, reason: FailureReason, *, now: datetime
) -> bool:
    """Stopped over there, and nobody had asked for it, is not among the reasons: whoever did that,
    perhaps we at the provider's own pages, did not mean it to be made elsewhere. What was made and
    cannot be used is not either: it is paid."""
    is_over = reason == FailureReason.PROVIDER_ERROR
    is_waited_for = reason == FailureReason.TIMEOUT and held.stage == Stage.SENT
    return (is_over or is_waited_for) and routing.has_other_route(
        held, exclude=request.route_id, now=now
    )


def _fetch_next(held: Job, request: ProviderRequest, *, now: datetime) -> None:
    request.state = RequestState.ACCEPTED
    request.ended_at = request.cancel_asked_at = request.cancel_due_at = None
    request.save(update_fields=["state", "ended_at", "cancel_asked_at", "cancel_due_at"])
    held.stage = Stage.STORE
    held.deadline_at = now + timedelta(seconds=settings.JOB_STORE_DEADLINE_SECONDS)
    STORE_RESULTS.wake_workers(queue=held.queue)


def _submit_next(held: Job, *, now: datetime) -> None:
    held.stage = Stage.SUBMIT
    held.deadline_at = now + timedelta(seconds=settings.JOB_SUBMIT_DEADLINE_SECONDS)
    SUBMIT_JOBS.wake_workers(queue=held.queue)
