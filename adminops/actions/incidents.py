"""Refund or fail many jobs at once, after a provider or model has failed.

Guarantee: each job is settled once. A job and the totals that count it change in one transaction,
and the query finds no job that is settled already. So a worker may die at any line, and two workers
may process one incident. A batch runs at least once. The notification of a customer, one for all of
the customer's jobs, is committed with the first of these jobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Sum

from accounts.models import PushKind
from adminops.actions import approvals
from adminops.actions.approvals import (
    ActionHandler,
    ActionRequest,
    ActionResult,
    CreditImpact,
    perform_or_request_approval,
)
from adminops.actions.audit import StaffAction
from adminops.due_work import WORK_ON_INCIDENTS
from adminops.models import AdminAction, Incident, IncidentKind, PendingApproval
from generation.lifecycle import manual, notifications
from generation.models import GenerationModel, Job, JobStatus, ProviderRequest, ProviderRoute
from rendio.common.background.due_rows import claim_due
from rendio.common.background.due_work import due_batch
from rendio.common.errors import InvalidInput, InvalidState
from rendio.common.ids import lowest_uuid7
from rendio.common.times import iso

logger = structlog.get_logger(__name__)

BATCH = WORK_ON_INCIDENTS.batch
# Credits of one job that the customer gets back.
_REFUND = F("credits") - F("fee_kept")


@dataclass(frozen=True)
class JobFilter:
    """The jobs of an incident. `provider` and `route` match any submission of a job; empty: any."""

    kind: IncidentKind
    from_at: datetime
    until_at: datetime
    provider: str = ""
    model: GenerationModel | None = None
    route: ProviderRoute | None = None


class Totals(NamedTuple):
    jobs: int
    credits: int


@dataclass(frozen=True)
class Preview:
    """The jobs that an incident would settle now, and the jobs of the same filter whose credits are
    back already, because they failed or were refunded."""

    to_settle: Totals
    refunded: Totals


def preview(job_filter: JobFilter) -> Preview:
    refunded = _matching_jobs(job_filter, Q()).filter(refund_entry__isnull=False)
    return Preview(_totals(_jobs_to_settle(job_filter)), _totals(refunded))


def start(
    staff_action: StaffAction, *, job_filter: JobFilter, notify: bool = True
) -> Incident | PendingApproval:
    """Have the workers settle all these jobs, and notify the customers if `notify`. Raises
    Forbidden, InvalidInput, and InvalidState if no job matches."""
    arguments = {
        "which": job_filter.kind.value,
        # With microseconds: exactly the jobs that were counted.
        "from_at": job_filter.from_at.isoformat(),
        "until_at": job_filter.until_at.isoformat(),
        "provider": job_filter.provider,
        "model": str(job_filter.model.id) if job_filter.model else None,
        "route": str(job_filter.route.id) if job_filter.route else None,
        "notify": notify,
    }
    result: Incident | PendingApproval = perform_or_request_approval(
        AdminAction.RUN_INCIDENT, staff_action, arguments=arguments
    )
    return result


def _job_filter_from(arguments: dict[str, Any]) -> JobFilter:
    return JobFilter(
        kind=IncidentKind(arguments["which"]),
        from_at=datetime.fromisoformat(arguments["from_at"]),
        until_at=datetime.fromisoformat(arguments["until_at"]),
        provider=arguments["provider"],
        model=GenerationModel.objects.get(id=arguments["model"]) if arguments["model"] else None,
        route=ProviderRoute.objects.get(id=arguments["route"]) if arguments["route"] else None,
    )


def _impact(request: ActionRequest) -> CreditImpact:
    job_filter = _job_filter_from(request.arguments)
    if not job_filter.from_at < job_filter.until_at <= request.now:
        problem = "The range must begin before it ends, and end before now."
        raise InvalidInput(fields={"until_at": [problem]})
    jobs = _jobs_to_settle(job_filter)
    expected = _totals(jobs)
    if not expected.jobs:
        raise InvalidState(problem="No jobs match.")
    by_customer = jobs.values("user").annotate(credits=Sum(_REFUND)).order_by("-credits")
    largest = by_customer.values_list("credits", flat=True).first()
    return CreditImpact(expected.credits, max_per_customer=largest or 0)


def _start(request: ActionRequest, staff_action: StaffAction) -> ActionResult:
    job_filter, notify = _job_filter_from(request.arguments), request.arguments["notify"]
    expected = _totals(_jobs_to_settle(job_filter))
    incident = Incident.objects.create(
        **vars(job_filter),
        notify=notify,
        reason=staff_action.reason,
        started_by=staff_action.actor,
        started_at=request.now,
        expected_jobs=expected.jobs,
        expected_credits=expected.credits,
        due_at=request.now,
    )
    WORK_ON_INCIDENTS.wake_workers()
    after = {
        **_as_json(job_filter),
        "jobs": expected.jobs,
        "credits": expected.credits,
        "notify": notify,
    }
    return ActionResult(incident.id, {}, after, incident, credits_moved=expected.credits)


def _as_json(job_filter: JobFilter) -> dict[str, Any]:
    return {
        "which": job_filter.kind,
        "provider": job_filter.provider,
        "model": str(job_filter.model or ""),
        "route": str(job_filter.route or ""),
        "from_at": iso(job_filter.from_at),
        "until_at": iso(job_filter.until_at),
    }


def _details(approval: PendingApproval) -> list[tuple[str, Any]]:
    lines = _as_json(_job_filter_from(approval.arguments))
    return [(name.replace("_", " ").capitalize(), value) for name, value in lines.items() if value]


approvals.register(AdminAction.RUN_INCIDENT, ActionHandler(_impact, _start, _details))


# --- The jobs -------------------------------------------------------------------------------------


def _jobs_to_settle(job_filter: JobFilter) -> QuerySet[Job]:
    if job_filter.kind == IncidentKind.STUCK:
        going_on = [JobStatus.PENDING, JobStatus.PROCESSING]
        return _matching_jobs(job_filter, Q(ended_at=None)).filter(status__in=going_on)
    delivered = _matching_jobs(job_filter, Q(state="finished"))
    return delivered.filter(status=JobStatus.COMPLETED, refund_entry=None)


def _matching_jobs(job_filter: JobFilter, request: Q) -> QuerySet[Job]:
    """Jobs created in the time range, by their time-ordered ids. `request` filters the submissions
    that a provider or route must match."""
    jobs = Job.objects.filter(
        id__gte=lowest_uuid7(job_filter.from_at), id__lt=lowest_uuid7(job_filter.until_at)
    )
    if job_filter.model:
        jobs = jobs.filter(model=job_filter.model)
    sent = ProviderRequest.objects.filter(request, job=OuterRef("id"))
    if job_filter.provider:
        jobs = jobs.filter(Exists(sent.filter(provider=job_filter.provider)))
    if job_filter.route:
        jobs = jobs.filter(Exists(sent.filter(route=job_filter.route)))
    return jobs


def _totals(jobs: QuerySet[Job]) -> Totals:
    found = jobs.aggregate(jobs=Count("id"), credits=Sum(_REFUND))
    return Totals(found["jobs"], found["credits"] or 0)


# --- The work -------------------------------------------------------------------------------------


@due_batch(WORK_ON_INCIDENTS)
def work_due(*, now: datetime) -> int:
    """Settle a batch of jobs of the incident that has been due longest; returns the size of the
    batch. An incident whose worker died is due again after a minute."""
    return sum(
        _work(incident, now=now) for incident in claim_due(Incident.objects.all(), now=now, limit=1)
    )


def _work(incident: Incident, *, now: datetime) -> int:
    jobs = _jobs_to_settle(
        JobFilter(
            IncidentKind(incident.kind),
            incident.from_at,
            incident.until_at,
            incident.provider,
            incident.model,
            incident.route,
        )
    )
    if incident.after_id:
        jobs = jobs.filter(id__gt=incident.after_id)
    batch = list(jobs.order_by("id").values_list("id", flat=True)[:BATCH])
    for job_id in batch:
        _settle(incident, job_id, now=now)
    if len(batch) < BATCH:
        Incident.objects.filter(id=incident.id).update(due_at=None, ended_at=now)
        logger.info("incident_ended", incident_id=str(incident.id))
    else:
        Incident.objects.filter(id=incident.id).update(due_at=now, tries=0, after_id=batch[-1])
    return len(batch)


def _settle(incident: Incident, job_id: UUID, *, now: datetime) -> None:
    """Settle one job, in a transaction with the totals that count it. An exception is logged and
    does not stop the rest."""
    totals = Incident.objects.filter(id=incident.id)
    try:
        with transaction.atomic(durable=True):
            if incident.kind == IncidentKind.STUCK:
                job = manual.fail_job(job_id, now=now, quietly=True)
            else:
                job = manual.refund_job(job_id, acting_user_id=incident.started_by_id, now=now)
            # No more credits than were counted, and approved, at the start: jobs that were running
            # then may have been delivered since.
            within = totals.filter(settled_credits__lte=F("expected_credits") - job.credits)
            if not within.update(
                settled_jobs=F("settled_jobs") + 1,
                settled_credits=F("settled_credits") + job.credits,
                told_customers=F("told_customers") + int(_notify(incident, job, now=now)),
            ):
                raise _ExceedsCounted
    except InvalidState:
        pass  # the job has ended, or was refunded, since the query
    except _ExceedsCounted:
        logger.warning("incident_job_exceeds_total", job_id=str(job_id))
        totals.update(broken_jobs=F("broken_jobs") + 1)
    except Exception:
        logger.exception("incident_job_failed", job_id=str(job_id))
        totals.update(broken_jobs=F("broken_jobs") + 1)


class _ExceedsCounted(Exception):
    """Rolls back a job that the incident does not cover."""


def _notify(incident: Incident, job: Job, *, now: datetime) -> bool:
    """Notify the customer, unless another job of the incident has. Returns whether it did."""
    returned = PushKind.CREDITS_RETURNED
    return incident.notify and notifications.notify_user(
        job, returned, now=now, subject_id=incident.id
    )
