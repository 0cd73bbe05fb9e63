"""The claim of the stage SUBMIT: select the jobs to submit now, and a route for each.

Reads circuit breakers, provider limits and user limits, and stores each ProviderRequest before it
is sent. Calls no provider. The lock of the health rows lets one worker at a time schedule, for some
milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Q

from generation import masks, submission_files
from generation.catalogue import cache, pricing, routing
from generation.catalogue.specs import RouteSpec, UnknownKind
from generation.dispatch import circuit_breaker, fair_queue
from generation.dispatch.capacity import Capacity
from generation.due_work import SUBMIT_JOBS
from generation.lifecycle import transitions
from generation.models import Breaker, Job, ProviderHealth, ProviderRequest, Stage
from generation.submission_files import SubmissionFile
from generation.training import submission, usage
from generation.uploads import retention

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Dispatch:
    job: Job
    request: ProviderRequest
    route: RouteSpec
    body: dict[str, Any]
    is_probe: bool
    # To be written before the submission.
    file: SubmissionFile | None = None


@dataclass
class Batch:
    dispatches: list[Dispatch] = field(default_factory=list)
    unroutable: list[Job] = field(default_factory=list)
    # Not sent: the remaining routes are full, or unavailable.
    no_capacity: list[UUID] = field(default_factory=list)
    no_route: list[UUID] = field(default_factory=list)


def schedule_batch(*, queue: str, now: datetime) -> Batch:
    """Select the next jobs, assign a route to each, and store the provider requests.

    Opens one transaction of its own and locks the health rows.
    """
    with transaction.atomic(durable=True):
        if not fair_queue.waiting_jobs(queue=queue, now=now).exists():
            return Batch()
        capacity = Capacity(queue=queue, now=now)
        unavailable, full = _models_without_capacity(capacity)
        ranking = fair_queue.rank_waiting(
            queue=queue, unavailable_models=unavailable | full, now=now
        )
        batch = _assign_routes(
            _lock_waiting(ranking.ranked[: SUBMIT_JOBS.batch]), capacity, now=now
        )
        batch.unroutable += Job.objects.filter(id__in=ranking.overdue[: SUBMIT_JOBS.batch])
        _save_dispatches(batch.dispatches, now=now)
        _update_waiting(batch, ranking, queue=queue, full_models=full, now=now)
    for item in batch.dispatches:
        item.job.stage = Stage.SENT
    return batch


def _models_without_capacity(capacity: Capacity) -> tuple[set[UUID], set[UUID]]:
    """Models on sale without capacity: (all providers unavailable, provider healthy but full)."""
    unavailable: set[UUID] = set()
    full: set[UUID] = set()
    for model in cache.current().all_models:
        # Jobs of a model without any known provider are failed in _assign_routes.
        providers = [
            route.provider for route in model.routes if routing.provider_keys(route.provider)
        ]
        if providers and not any(map(capacity.has_capacity, providers)):
            (full if any(map(capacity.is_healthy, providers)) else unavailable).add(model.id)
    return unavailable, full


def _lock_waiting(job_ids: list[UUID]) -> list[Job]:
    """Lock these jobs, in the given order. Jobs that no longer wait are left out."""
    jobs = (
        Job.objects.filter(id__in=job_ids, stage=Stage.SUBMIT, cancel_requested_at=None)
        .select_for_update(skip_locked=True, of=("self",))
        .in_bulk()
    )
    return [jobs[job_id] for job_id in job_ids if job_id in jobs]


def _assign_routes(jobs: list[Job], capacity: Capacity, *, now: datetime) -> Batch:
    batch = Batch()
    for job in jobs:
        try:
            routes = routing.untried_routes(job)
            health, route = _reserve_first_free(routes, capacity, job)
            if route and health:
                batch.dispatches.append(_prepare_dispatch(job, route, health, now=now))
            elif not any(routing.provider_keys(route.provider) for route in routes):
                batch.unroutable.append(job)
            elif any(capacity.is_healthy(route.provider) for route in routes):
                batch.no_capacity.append(job.id)
            elif all(capacity.is_unavailable(route.provider) for route in routes):
                batch.no_route.append(job.id)
        except UnknownKind:
            # A worker of the newer release submits it.
            batch.no_route.append(job.id)
        except Exception:
            # The model was deleted, or a catalogue row is invalid. Other jobs are still scheduled.
            logger.exception("route_unusable", job_id=str(job.id))
            batch.unroutable.append(job)
    return batch


def _reserve_first_free(
    routes: list[RouteSpec], capacity: Capacity, job: Job
) -> tuple[ProviderHealth, RouteSpec] | tuple[None, None]:
    for route in routes:
        if health := capacity.reserve(route.provider, cost_usd=route.cost(job.settings)):
            return health, route
    return None, None


def _prepare_dispatch(
    job: Job, route: RouteSpec, health: ProviderHealth, *, now: datetime
) -> Dispatch:
    # An invalid catalogue row raises here, before a probe is started.
    request = ProviderRequest(
        job=job,
        route_id=route.id,
        provider=route.provider,
        key_label=health.key_label,
        cost_usd=route.cost(job.settings, input_megapixels=_input_megapixels(job, route)),
        sent_at=now,
    )
    file: SubmissionFile | None = None
    if job.is_training:
        inputs, file = submission.prepare(job, route, request.id, now=now)
    else:
        inputs = _inputs(job)
        if job.second_upload_id and "mask_url" in inputs and route.changed_by_mask != masks.WHITE:
            inputs["mask_url"], file = masks.convert(
                job, job.second_upload_id, request.id, changes=route.changed_by_mask, now=now
            )
    body = route.payload(inputs)
    is_probe = health.state != Breaker.CLOSED
    if is_probe:
        circuit_breaker.start_probe(health, request, now=now)
    return Dispatch(job, request, route, body, is_probe, file)


def _input_megapixels(job: Job, route: RouteSpec) -> int:
    """Of the source images, rounded up for each. 0 where the route does not charge for them."""
    if not route.input_cost_usd:
        return 0
    images = [image for image in (job.upload, job.second_upload) if image]
    return sum(pricing.megapixels(image.width, image.height) for image in images)


def _inputs(job: Job) -> dict[str, Any]:
    inputs = {"prompt": job.prompt, **job.settings}
    seconds = submission_files.needed_seconds(job.model_id)
    if job.trained_model_id:
        inputs |= usage.inputs(job.trained_model_id, job.prompt, seconds=seconds)
    if not job.upload_id:
        return inputs
    inputs["image_url"] = retention.signed_url(job.upload_id, seconds=seconds)
    model = cache.find_model(job.model_id)
    if job.second_upload_id and model:
        inputs[model.kind.second_image] = retention.signed_url(
            job.second_upload_id, seconds=seconds, is_mask=model.kind.has_mask
        )
    return inputs


def _save_dispatches(dispatches: list[Dispatch], *, now: datetime) -> None:
    ProviderRequest.objects.bulk_create([item.request for item in dispatches])
    submission_files.schedule_deletions(item.file for item in dispatches if item.file)
    transitions.to_sent([item.job.id for item in dispatches], now=now)


def _update_waiting(
    batch: Batch, ranking: fair_queue.Ranking, *, queue: str, full_models: set[UUID], now: datetime
) -> None:
    """Extend the submit deadlines of waiting jobs, and defer jobs that would fill the window."""
    not_at_fault = Q(id__in=ranking.over_concurrency_limit + batch.no_capacity)
    if full_models:
        not_at_fault |= Q(model_id__in=full_models)
    fair_queue.extend_submit_deadline(
        fair_queue.waiting_jobs(queue=queue, now=now).filter(not_at_fault), now=now
    )
    deferred = batch.no_route
    if ranking.window_is_full:
        deferred = deferred + ranking.over_concurrency_limit
    if deferred:
        fair_queue.defer(deferred, now=now)
