"""Submission of jobs to providers, at most once.

Before the call, generation.dispatch.scheduler moves the job out of the stage SUBMIT and stores the
request. So if a worker dies at any line, the job waits for its webhook or its deadline and is never
sent twice.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any
from urllib.parse import urlencode

import structlog
from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Exists, QuerySet

from generation import submission_files
from generation.catalogue import routing
from generation.dispatch import circuit_breaker
from generation.dispatch.scheduler import Dispatch, schedule_batch
from generation.due_work import SUBMIT_JOBS
from generation.lifecycle import acceptances, failover, settle, transitions
from generation.lifecycle.acceptances import Acceptance
from generation.lifecycle.concurrency import Answer, bind_request_id, fetch_concurrently
from generation.lifecycle.cost_rules import SubmissionOutcome, cost_update
from generation.lifecycle.retry_delay import retry_delay
from generation.models import Job, ProviderRequest, RequestState
from generation.providers import get_provider
from generation.providers.base import (
    RATE_LIMITED,
    Accepted,
    FailureReason,
    Rejected,
    RetryLater,
    SubmitResult,
    Unknown,
)
from generation.submission_files import NotPrepared
from rendio.common.background.due_rows import for_each_logged
from rendio.common.background.due_work import due_batch
from rendio.common.observability import metrics

logger = structlog.get_logger(__name__)


@due_batch(SUBMIT_JOBS)
def submit_due(*, queue: str, now: datetime) -> int:
    """Submit the next jobs of `queue`, up to a batch concurrently. Returns how many were sent or
    failed."""
    batch = schedule_batch(queue=queue, now=now)
    # The stored requests first, so that no other failure prevents their submission.
    for answers in fetch_concurrently(batch.dispatches, _send, job_of=attrgetter("job"), now=now):
        _record_all(answers)
    for_each_logged(
        batch.unroutable,
        lambda job: settle.fail(
            job, FailureReason.PROVIDER_ERROR, now=now, detail="not taken in time"
        ),
    )
    return len(batch.dispatches) + len(batch.unroutable)


def _send(item: Dispatch) -> SubmitResult | NotPrepared:
    if item.file and (problem := submission_files.store(item.file)):
        return problem
    provider = get_provider(item.route.provider)
    token = urlencode({"token": item.request.webhook_token})
    return provider.submit(
        model_id=item.route.provider_model_id,
        body=item.body,
        webhook_url=f"{settings.PUBLIC_URL}/webhooks/{item.route.provider}?{token}",
        key_label=item.request.key_label,
    )


def _record_all(answers: list[Answer[Dispatch, SubmitResult | NotPrepared]]) -> None:
    """Record the accepted submissions together, and each other answer by itself.

    If the database refuses them together, each is recorded by itself: one does not lose the others.
    """
    accepted: list[Acceptance] = [
        (one.item, one.result, one.at) for one in answers if isinstance(one.result, Accepted)
    ]
    if len(accepted) > 1 and _is_recorded_together(accepted):
        answers = [one for one in answers if not isinstance(one.result, Accepted)]
    for answer in answers:
        with bind_request_id(answer.item.job):
            for_each_logged([answer], lambda one: _record(one.item, one.result, one.at))


def _is_recorded_together(accepted: list[Acceptance]) -> bool:
    try:
        acceptances.record(accepted)
    except DatabaseError as error:
        logger.warning("not_recorded_together", error=type(error).__name__)
        return False
    for_each_logged([accepted], _report_accepted)
    return True


def _report_accepted(accepted: list[Acceptance]) -> None:
    """Log and count acceptances that are recorded."""
    for item, _, _ in accepted:
        provider, job = item.request.provider, item.job
        metrics.submissions.labels(provider, "accepted").inc()
        with bind_request_id(job):
            name = "falai_job_submitted" if provider == "fal" else "job_submitted"
            logger.info(name, job_id=str(job.id), provider=provider)
    _count_successes([item for item, _, _ in accepted], now=accepted[0][-1])


def _count_successes(items: list[Dispatch], *, now: datetime) -> None:
    """Tell the circuit breakers."""
    circuit_breaker.record_successes(item.request for item in items if not item.is_probe)
    for item in items:
        if item.is_probe:
            circuit_breaker.record_probe_success(item.request, now=now)


def _record(item: Dispatch, answer: SubmitResult | NotPrepared, now: datetime) -> None:
    request = item.request
    if isinstance(answer, NotPrepared):
        _record_not_prepared(item, answer, now=now)
        return
    if isinstance(answer, Accepted):
        acceptances.record([(item, answer, now)])
        _report_accepted([(item, answer, now)])
        return
    metrics.submissions.labels(request.provider, type(answer).__name__.lower()).inc()
    error_type = "outcome_unknown" if isinstance(answer, Unknown) else answer.error_type
    logger.warning(
        "provider_api_error",
        job_id=str(item.job.id),
        provider=request.provider,
        error_type=error_type,
    )
    match answer:
        case Rejected(reason, error_type, detail):
            is_waited_for = _close_if_unanswered(
                request, RequestState.REFUSED, error_type, detail, now=now
            )
            _count_successes([item], now=now)
            # After its deadline the job may run on another route, which has not failed.
            if is_waited_for:
                failover.try_next_or_fail(
                    item.job, reason, now=now, error_type=error_type, detail=detail
                )
        case RetryLater():
            _record_deferred(item, answer, now=now)
            pause = answer.retry_after_seconds if error_type == RATE_LIMITED else 0
            circuit_breaker.record_failure(request, error_type, pause_seconds=pause, now=now)
        case Unknown(detail):
            ProviderRequest.objects.filter(id=request.id, state=RequestState.SENDING).update(
                state=RequestState.UNKNOWN, answered_at=now, error_detail=detail
            )
            circuit_breaker.record_failure(request, detail, now=now)


def _record_not_prepared(item: Dispatch, problem: NotPrepared, *, now: datetime) -> None:
    """Nothing was sent, and the provider is not the cause."""
    logger.warning(
        "submission_not_prepared", job_id=str(item.job.id), error_type=problem.error_type
    )
    if problem.is_final:
        is_waited_for = _close_if_unanswered(
            item.request, RequestState.REFUSED, problem.error_type, problem.detail, now=now
        )
        if is_waited_for:
            settle.fail(item.job, FailureReason.WORKER_ERROR, now=now, detail=problem.detail)
        return
    deadline = item.job.deadline_at or now
    due_at = min(now + retry_delay(item.job.tries), max(deadline, now))
    _defer(
        item,
        problem.error_type,
        problem.detail,
        now=now,
        deadline_at=deadline,
        due_at=due_at,
        tries=item.job.tries + 1,
    )


def _record_deferred(item: Dispatch, answer: RetryLater, *, now: datetime) -> None:
    """Submit again: at once if another route is available, else by any route after a pause."""
    job = item.job
    # The deadline of SUBMIT: the instance was read before the change to SENT.
    deadline = job.deadline_at or now
    changes: dict[str, Any]
    if routing.has_other_route(job, exclude=item.route.id, now=now):
        changes = {"due_at": now, "tried_routes": [*job.tried_routes, str(item.route.id)]}
    else:
        wait = max(timedelta(seconds=answer.retry_after_seconds), retry_delay(job.tries))
        changes = {"due_at": min(now + wait, max(deadline, now)), "tries": job.tries + 1}
    _defer(item, answer.error_type, answer.detail, now=now, deadline_at=deadline, **changes)


def _defer(item: Dispatch, error_type: str, detail: str, *, now: datetime, **changes: Any) -> None:
    """SENT to SUBMIT, and the end of the request."""
    with transaction.atomic(durable=True):
        transitions.to_deferred_submit(_unanswered(item), **changes)
        _close_if_unanswered(item.request, RequestState.DEFERRED, error_type, detail, now=now)


def _unanswered(item: Dispatch) -> QuerySet[Job]:
    """The job's row, while the job waits for the answer to this request."""
    sending = ProviderRequest.objects.filter(id=item.request.id, state=RequestState.SENDING)
    return Job.objects.filter(Exists(sending), id=item.job.id)


def _close_if_unanswered(
    request: ProviderRequest, state: RequestState, error_type: str, detail: str, *, now: datetime
) -> bool:
    """End the request if it still waits for its answer. False if its deadline passed first."""
    ended = ProviderRequest.objects.filter(id=request.id, state=RequestState.SENDING).update(
        state=state,
        answered_at=now,
        ended_at=now,
        **cost_update(SubmissionOutcome.REFUSED, None),
        error_type=error_type[:80],
        error_detail=detail[:500],
    )
    return ended == 1
