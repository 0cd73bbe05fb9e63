"""Which jobs are submitted now, and by which route: the claim of the stage SUBMIT.

It reads the breakers, the limits of the providers and those of the users, and writes down each
request before it leaves. Nothing is called here. One worker at a time allots, for some
milliseconds: it holds the rows of the providers' health.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q

from generation.catalogue import cache, routing
from generation.catalogue.cache import RouteSpec
from generation.dispatch import circuit_breaker, fair_queue
from generation.dispatch.capacity import Room
from generation.lifecycle.poll import run_seconds
from generation.models import Breaker, Job, ProviderHealth, ProviderRequest, Stage
from generation.uploads import retention

logger = structlog.get_logger(__name__)

BATCH = 50


@dataclass(frozen=True)
class Outgoing:
    job: Job
    request: ProviderRequest
    route: RouteSpec
    body: dict[str, Any]
    is_probe: bool


@dataclass
class Allotted:
    outgoing: list[Outgoing] = field(default_factory=list)
    hopeless: list[Job] = field(default_factory=list)
    # Not sent: all routes that they have left are full, or shut.
    without_room: list[UUID] = field(default_factory=list)
    without_way: list[UUID] = field(default_factory=list)


def allot(*, queue: str, now: datetime) -> Allotted:
    """Choose whose turn it is, find each a route, and write down that we are about to call: in one
    transaction, under the lock of the providers' health."""
    with transaction.atomic(durable=True):
        if not fair_queue.waiting_jobs(queue=queue, now=now).exists():
            return Allotted()
        room = Room(now=now)
        shut, full = _shut_models(room)
        next_up = fair_queue.look(queue=queue, shut_models=shut | full, now=now)
        taken = _with_routes(_locked(next_up.next[:BATCH]), room, now=now)
        taken.hopeless += Job.objects.filter(id__in=next_up.overdue[:BATCH])
        _write_down(taken.outgoing, now=now)
        _let_wait(taken, next_up, queue=queue, full_models=full, now=now)
    for item in taken.outgoing:
        item.job.stage = Stage.SENT
    return taken


def _shut_models(room: Room) -> tuple[set[UUID], set[UUID]]:
    """The models on sale whose providers take nothing now, and those whose providers are well, but
    full."""
    shut: set[UUID] = set()
    full: set[UUID] = set()
    for model in cache.current().models.values():
        # Without a provider that we could ask at all, its jobs are given up below.
        providers = [
            route.provider for route in model.routes if routing.provider_keys(route.provider)
        ]
        if providers and not any(map(room.has_any, providers)):
            (full if any(map(room.is_well, providers)) else shut).add(model.id)
    return shut, full


def _locked(job_ids: list[UUID]) -> list[Job]:
    """These jobs, if they still wait, in the given order."""
    jobs = (
        Job.objects.filter(id__in=job_ids, stage=Stage.SUBMIT, cancel_requested_at=None)
        .select_for_update(skip_locked=True, of=("self",))
        .in_bulk()
    )
    return [jobs[job_id] for job_id in job_ids if job_id in jobs]


def _with_routes(jobs: list[Job], room: Room, *, now: datetime) -> Allotted:
    taken = Allotted()
    for job in jobs:
        try:
            routes = routing.untried_routes(job)
            health, route = _first_free(routes, room, job)
            if route and health:
                taken.outgoing.append(_prepared(job, route, health, now=now))
            elif not any(routing.provider_keys(route.provider) for route in routes):
                taken.hopeless.append(job)
            elif any(room.is_well(route.provider) for route in routes):
                taken.without_room.append(job.id)
            elif all(room.is_shut(route.provider) for route in routes):
                taken.without_way.append(job.id)
        except Exception:
            # The model was deleted, or a row of the catalogue is wrong. The jobs of the others go
            # on.
            logger.exception("route_unusable", job_id=str(job.id))
            taken.hopeless.append(job)
    return taken


def _first_free(
    routes: list[RouteSpec], room: Room, job: Job
) -> tuple[ProviderHealth, RouteSpec] | tuple[None, None]:
    for route in routes:
        if health := room.take(route.provider, cost_usd=route.cost(job.settings)):
            return health, route
    return None, None


def _prepared(job: Job, route: RouteSpec, health: ProviderHealth, *, now: datetime) -> Outgoing:
    # First what a wrong row of the catalogue can break, so that no probe is begun in vain.
    body = route.payload(_inputs(job))
    request = ProviderRequest(
        job=job,
        route_id=route.id,
        provider=route.provider,
        key_label=health.key_label,
        cost_usd=route.cost(job.settings),
        sent_at=now,
    )
    is_probe = health.state != Breaker.CLOSED
    if is_probe:
        circuit_breaker.begin_probe(health, request, now=now)
    return Outgoing(job, request, route, body, is_probe)


def _inputs(job: Job) -> dict[str, Any]:
    inputs = {"prompt": job.prompt, **job.settings}
    if job.upload_id:
        # The provider fetches it when the job's turn comes, at the latest where its time ends.
        lives = settings.JOB_START_DEADLINE_SECONDS + run_seconds(job)
        inputs["image_url"] = retention.address_for(job.upload_id, seconds=lives)
    return inputs


def _write_down(outgoing: list[Outgoing], *, now: datetime) -> None:
    ProviderRequest.objects.bulk_create([item.request for item in outgoing])
    deadline = now + timedelta(seconds=settings.JOB_SUBMIT_DEADLINE_SECONDS)
    Job.objects.filter(id__in=[item.job.id for item in outgoing]).update(
        stage=Stage.SENT, due_at=deadline, deadline_at=deadline
    )


def _let_wait(
    taken: Allotted, next_up: fair_queue.Turns, *, queue: str, full_models: set[UUID], now: datetime
) -> None:
    """What is not sent now: whose submit deadline is put off, and who makes room in the window."""
    without_fault = Q(id__in=next_up.beyond_limit + taken.without_room)
    if full_models:
        without_fault |= Q(model_id__in=full_models)
    fair_queue.put_off_deadline(
        fair_queue.waiting_jobs(queue=queue, now=now).filter(without_fault), now=now
    )
    aside = taken.without_way
    if next_up.window_is_full:
        aside = aside + next_up.beyond_limit
    if aside:
        fair_queue.step_aside(aside, now=now)
