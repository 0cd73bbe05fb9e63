"""Handing a job to a provider: at most once.

The job leaves the stage SUBMIT, and the request is on record, before anything is sent; so a worker
that dies at any line leaves a job that waits for its webhook or its deadline, and none that is
sent twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import structlog
from django.conf import settings
from django.db import transaction

from generation import catalogue
from generation.catalogue import RouteSpec
from generation.lifecycle import settle
from generation.lifecycle.claims import backoff, side_by_side
from generation.models import Job, JobStatus, ProviderRequest, RequestState, Stage
from generation.providers import find_provider, get_provider
from generation.providers.base import Accepted, Later, Reason, Refused, Submission, Unknown
from rendio.common.due import each

logger = structlog.get_logger(__name__)

BATCH = 50


@dataclass(frozen=True)
class _Outgoing:
    job: Job
    request: ProviderRequest
    route: RouteSpec
    body: dict[str, Any]


def submit_due(*, queue: str, now: datetime) -> int:
    """Submit what is due in `queue`, up to BATCH side by side; returns how many were looked at."""
    outgoing, hopeless, looked_at = _take(queue=queue, now=now)
    # What is on record as leaving first: nothing else may keep it from being sent.
    side_by_side(outgoing, _send, _record, now=now)
    each(
        hopeless,
        lambda job: settle.give_up(job, Reason.PROVIDER_ERROR, now=now, detail="not taken in time"),
    )
    return looked_at


def _take(*, queue: str, now: datetime) -> tuple[list[_Outgoing], list[Job], int]:
    """Claim due jobs and write down that we are about to call, in one transaction."""
    outgoing: list[_Outgoing] = []
    hopeless: list[Job] = []
    with transaction.atomic(durable=True):
        jobs = list(
            Job.objects.due(now, queue=queue, stages=[Stage.SUBMIT])
            # Taken back while it was being sent, and then not taken: that is for `cancel` to end.
            .filter(cancel_requested_at=None)
            .select_for_update(skip_locked=True, of=("self",))[:BATCH]
        )
        for job in jobs:
            if item := _prepared(job, now=now):
                outgoing.append(item)
            else:
                hopeless.append(job)
        ProviderRequest.objects.bulk_create([item.request for item in outgoing])
        deadline = now + timedelta(seconds=settings.JOB_SUBMIT_DEADLINE_SECONDS)
        Job.objects.filter(id__in=[item.job.id for item in outgoing]).update(
            stage=Stage.SENT, due_at=deadline, deadline_at=deadline
        )
    for item in outgoing:
        item.job.stage = Stage.SENT
    return outgoing, hopeless, len(jobs)


def _prepared(job: Job, *, now: datetime) -> _Outgoing | None:
    """None where it is too late, or where there is no route that could be followed."""
    if job.deadline_at and job.deadline_at <= now:
        return None
    try:
        route = catalogue.route_of(job.model_id)
        if route is None:
            return None
        inputs = {"prompt": job.prompt, "image_url": job.image_url, **job.settings}
        request = ProviderRequest(
            job=job,
            route_id=route.id,
            provider=route.provider,
            key_label=_key_label(route.provider, job),
            cost_usd=route.cost(job.settings),
            sent_at=now,
        )
        return _Outgoing(job, request, route, route.payload(inputs))
    except Exception:
        # The model was deleted, or a row of the catalogue is wrong. The jobs of the others go on.
        logger.exception("route_unusable", job_id=str(job.id))
        return None


def _key_label(provider_name: str, job: Job) -> str:
    """One of the provider's keys, each as often as the others."""
    provider = find_provider(provider_name)
    labels = provider.key_labels if provider else []
    return labels[job.id.int % len(labels)] if labels else ""


def _send(item: _Outgoing) -> Submission:
    provider = get_provider(item.route.provider)
    token = urlencode({"token": item.request.webhook_token})
    return provider.submit(
        model_id=item.route.provider_model_id,
        body=item.body,
        webhook_url=f"{settings.PUBLIC_URL}/webhooks/{item.route.provider}?{token}",
        key_label=item.request.key_label,
    )


def _record(item: _Outgoing, answer: Submission, now: datetime) -> None:
    job, request = item.job, item.request
    log = logger.bind(job_id=str(job.id), provider=request.provider)
    match answer:
        case Accepted(handle, position):
            with transaction.atomic(durable=True):
                # The webhook may have been quicker than this answer and have moved the job on: then
                # only the handle is news. The job before its request, as everywhere: two orders
                # would lock each other up.
                _move(
                    job,
                    stage=Stage.QUEUED,
                    status=JobStatus.PROCESSING,
                    queue_position=position,
                    due_at=now + backoff(0),
                    deadline_at=now + timedelta(seconds=settings.JOB_START_DEADLINE_SECONDS),
                    tries=0,
                )
                ProviderRequest.objects.filter(id=request.id).update(
                    provider_request_id=handle.request_id,
                    status_url=handle.status_url,
                    response_url=handle.response_url,
                    cancel_url=handle.cancel_url,
                    answered_at=now,
                )
                ProviderRequest.objects.filter(id=request.id, state=RequestState.SENDING).update(
                    state=RequestState.ACCEPTED
                )
            log.info("falai_job_submitted" if request.provider == "fal" else "job_submitted")
        case Refused(reason, error_type, detail):
            log.warning("provider_api_error", error_type=error_type)
            _end(request, RequestState.REFUSED, error_type, detail, now=now)
            settle.give_up(job, reason, now=now, error_type=error_type, detail=detail)
        case Later(seconds, error_type, detail):
            log.warning("provider_api_error", error_type=error_type)
            wait = max(timedelta(seconds=seconds), backoff(job.tries))
            deadline = job.created_at + timedelta(seconds=settings.JOB_SUBMIT_DEADLINE_SECONDS)
            with transaction.atomic(durable=True):
                _move(
                    job,
                    stage=Stage.SUBMIT,
                    due_at=min(now + wait, max(deadline, now)),
                    deadline_at=deadline,
                    tries=job.tries + 1,
                )
                _end(request, RequestState.REFUSED, error_type, detail, now=now)
        case Unknown(detail):
            log.warning("provider_api_error", error_type="outcome_unknown")
            ProviderRequest.objects.filter(id=request.id, state=RequestState.SENDING).update(
                state=RequestState.UNKNOWN, answered_at=now, error_detail=detail
            )


def _move(job: Job, **changes: object) -> None:
    """By compare-and-set: only while it still waits for this answer."""
    Job.objects.filter(id=job.id, stage=Stage.SENT).update(**changes)


def _end(
    request: ProviderRequest, state: RequestState, error_type: str, detail: str, *, now: datetime
) -> None:
    ProviderRequest.objects.filter(id=request.id, state=RequestState.SENDING).update(
        state=state,
        answered_at=now,
        ended_at=now,
        cost_usd=0,
        error_type=error_type[:80],
        error_detail=detail[:500],
    )
