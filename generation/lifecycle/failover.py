"""Failover to a model's next route after a failed submission.

Only where nothing runs at the provider any more (refused, or failed there), or where the submission
had no answer until the submit deadline. Each route fails a job once, so failover ends. Each attempt
is a ProviderRequest of its own, and a constraint allows one live request per job.

A submission of unknown outcome may finish while the next one runs. Its result is fetched before
another route is tried. Which route is next: generation/catalogue/routing.py.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import structlog
from django.db import transaction

from generation import queries
from generation.catalogue import routing
from generation.lifecycle import settle, transitions
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
    """Continue on the model's next route after a failed submission; without one, fail the job.

    `cost_usd` is the cost that the provider states, None if it states none. `raw` is the provider's
    answer about the result. Opens transactions of its own. False if another process changed the job
    first.
    """
    error: settle.ProviderError = {"error_type": error_type, "detail": detail, "cost_usd": cost_usd}
    # A submission may have finished meanwhile only where a route was tried before.
    may_continue = job.tried_routes or _allows_next_route(job, reason)
    if may_continue and _try_next_route(job, reason, now=now, error=error):
        return True
    return settle.fail(job, reason, now=now, raw=raw, **error)


def _try_next_route(
    claimed: Job, reason: FailureReason, *, now: datetime, error: settle.ProviderError
) -> bool:
    with transaction.atomic(durable=True):
        job = settle.lock_if_claimed(claimed)
        request = ProviderRequest.objects.filter(job_id=claimed.id).order_by("-id").first()
        if job is None or request is None:
            return False
        submissions = settle.unended_submissions(job)
        if job.is_terminal or job.deleted_at or settle.is_cancel_requested(job, submissions):
            return False
        finished = _finished_meanwhile(job)
        if not finished and not _has_next_route(job, request, reason, now=now):
            return False
        settle.close_submission(job, reason, submissions=submissions, now=now, **error)
        tried_routes = [*job.tried_routes, str(request.route_id)]
        # Computed before the change of stage, so that the progress bar does not fall.
        progress = queries.progress(job, now=now)
        if finished:
            _reopen(finished)
            transitions.to_store(job, now=now, tried_routes=tried_routes, progress=progress)
        else:
            transitions.to_next_route(job, now=now, tried_routes=tried_routes, progress=progress)
    logger.info("next_route", job_id=str(job.id), after=request.provider, reason=reason.value)
    return True


def _finished_meanwhile(job: Job) -> ProviderRequest | None:
    """An earlier submission of unknown outcome whose webhook has reported an end since."""
    unknown = ProviderRequest.objects.filter(job=job, state=RequestState.UNKNOWN)
    return unknown.filter(webhook_received=True).exclude(ended_at=None).order_by("id").first()


def _has_next_route(
    job: Job, request: ProviderRequest, reason: FailureReason, *, now: datetime
) -> bool:
    """Whether the failure allows another route, and one is available."""
    return _allows_next_route(job, reason) and routing.has_other_route(
        job, exclude=request.route_id, now=now
    )


def _allows_next_route(job: Job, reason: FailureReason) -> bool:
    """A provider's error does, and a submission without an answer.

    A cancellation at the provider does not: the person who cancelled there, perhaps our staff, does
    not want the job elsewhere. An unusable result does not either: the provider charges for it.
    """
    is_unanswered = reason == FailureReason.TIMEOUT and job.stage == Stage.SENT
    return is_unanswered or reason == FailureReason.PROVIDER_ERROR


def _reopen(request: ProviderRequest) -> None:
    request.state = RequestState.ACCEPTED
    request.ended_at = request.cancel_asked_at = request.cancel_due_at = None
    request.save(update_fields=["state", "ended_at", "cancel_asked_at", "cancel_due_at"])
