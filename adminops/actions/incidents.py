"""Many jobs settled in one go, after a provider or model has gone wrong.

Guarantee: each job is settled once. A job and the totals that count it change in one transaction,
and a job that was settled, by this, by somebody or by itself, is none of those that are looked for;
so a worker may die at any line, and two may work on one incident. At least once for each batch.
That a customer is to be told, once for however many jobs, is committed with the first of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Unpack
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Sum

from accounts.models import PushKind
from adminops.actions import approvals
from adminops.actions.approvals import Effect, Intent, Kind, Stake, carry_out
from adminops.actions.audit import Who, admitted
from adminops.models import AdminAction, Incident, PendingApproval, Which
from generation.lifecycle import manual, notifications
from generation.models import Job, JobStatus, Model, ProviderRequest, Route
from rendio.common import wakeup
from rendio.common.due import claim_due
from rendio.common.errors import InvalidInput, InvalidState
from rendio.common.ids import lowest_uuid7
from rendio.common.times import iso

logger = structlog.get_logger(__name__)

BATCH = 50
# Of one job, in credits.
_RETURNED = F("credits") - F("fee_kept")


@dataclass(frozen=True)
class Choice:
    """Which jobs. `provider` and `route` mean those that had or have the job; empty is any."""

    which: Which
    from_at: datetime
    until_at: datetime
    provider: str = ""
    model: Model | None = None
    route: Route | None = None


class Extent(NamedTuple):
    jobs: int
    credits: int


@dataclass(frozen=True)
class Trial:
    """What an incident would do now, and those of the same choice that have their credits back
    already, because they failed or were refunded."""

    to_settle: Extent
    back_already: Extent


def try_out(choice: Choice) -> Trial:
    """Count, and change nothing."""
    refunded = _chosen(choice, Q()).filter(refund_entry__isnull=False)
    return Trial(_extent(_to_settle(choice)), _extent(refunded))


@transaction.atomic(durable=True)
def start(*, choice: Choice, notify: bool = True, **who: Unpack[Who]) -> Incident | PendingApproval:
    """Have all these jobs settled by the workers, and their customers told if `notify`. Raises
    Forbidden, InvalidInput, and InvalidState where there are none."""
    who = admitted(AdminAction.RUN_INCIDENT, who)
    if not choice.from_at < choice.until_at <= who["now"]:
        problem = "It must begin before it ends, and end before now."
        raise InvalidInput(fields={"until_at": [problem]})
    arguments = {
        "which": choice.which.value,
        # To the microsecond: what is settled is what was counted.
        "from_at": choice.from_at.isoformat(),
        "until_at": choice.until_at.isoformat(),
        "provider": choice.provider,
        "model": str(choice.model.id) if choice.model else None,
        "route": str(choice.route.id) if choice.route else None,
        "notify": notify,
    }
    came: Incident | PendingApproval = carry_out(AdminAction.RUN_INCIDENT, who, arguments=arguments)
    return came


def _choice_of(arguments: dict[str, Any]) -> Choice:
    return Choice(
        which=Which(arguments["which"]),
        from_at=datetime.fromisoformat(arguments["from_at"]),
        until_at=datetime.fromisoformat(arguments["until_at"]),
        provider=arguments["provider"],
        model=Model.objects.get(id=arguments["model"]) if arguments["model"] else None,
        route=Route.objects.get(id=arguments["route"]) if arguments["route"] else None,
    )


def _stake(intent: Intent) -> Stake:
    jobs = _to_settle(_choice_of(intent.arguments))
    expected = _extent(jobs)
    if not expected.jobs:
        raise InvalidState(problem="There are no such jobs.")
    by_customer = jobs.values("user").annotate(credits=Sum(_RETURNED)).order_by("-credits")
    largest = by_customer.values_list("credits", flat=True).first()
    return Stake(expected.credits, max_per_customer=largest or 0)


def _begin(intent: Intent, who: Who) -> Effect:
    choice, notify = _choice_of(intent.arguments), intent.arguments["notify"]
    expected = _extent(_to_settle(choice))
    incident = Incident.objects.create(
        **vars(choice),
        notify=notify,
        reason=who["reason"],
        started_by=who["acting_user"],
        started_at=intent.now,
        expected_jobs=expected.jobs,
        expected_credits=expected.credits,
        due_at=intent.now,
    )
    wakeup.enqueue_on_commit("adminops.work_on_incidents", queue="high")
    after = {
        **_in_words(choice),
        "jobs": expected.jobs,
        "credits": expected.credits,
        "notify": notify,
    }
    return Effect(incident.id, {}, after, incident, moved=expected.credits)


def _in_words(choice: Choice) -> dict[str, Any]:
    return {
        "which": choice.which,
        "provider": choice.provider,
        "model": str(choice.model or ""),
        "route": str(choice.route or ""),
        "from_at": iso(choice.from_at),
        "until_at": iso(choice.until_at),
    }


def _details(approval: PendingApproval) -> list[tuple[str, Any]]:
    told = _in_words(_choice_of(approval.arguments))
    return [(name.replace("_", " ").capitalize(), value) for name, value in told.items() if value]


approvals.register(AdminAction.RUN_INCIDENT, Kind(_stake, _begin, _details))


# --- Which jobs -----------------------------------------------------------------------------------


def _to_settle(choice: Choice) -> QuerySet[Job]:
    if choice.which == Which.STUCK:
        going_on = [JobStatus.PENDING, JobStatus.PROCESSING]
        return _chosen(choice, Q(ended_at=None)).filter(status__in=going_on)
    delivered = _chosen(choice, Q(state="finished"))
    return delivered.filter(status=JobStatus.COMPLETED, refund_entry=None)


def _chosen(choice: Choice, request: Q) -> QuerySet[Job]:
    """By the range of time that ids are; a provider or route by such a request of the job."""
    jobs = Job.objects.filter(
        id__gte=lowest_uuid7(choice.from_at), id__lt=lowest_uuid7(choice.until_at)
    )
    if choice.model:
        jobs = jobs.filter(model=choice.model)
    sent = ProviderRequest.objects.filter(request, job=OuterRef("id"))
    if choice.provider:
        jobs = jobs.filter(Exists(sent.filter(provider=choice.provider)))
    if choice.route:
        jobs = jobs.filter(Exists(sent.filter(route=choice.route)))
    return jobs


def _extent(jobs: QuerySet[Job]) -> Extent:
    found = jobs.aggregate(jobs=Count("id"), credits=Sum(_RETURNED))
    return Extent(found["jobs"], found["credits"] or 0)


# --- The work -------------------------------------------------------------------------------------


def work_due(*, now: datetime) -> int:
    """Settle a batch of the incident that has been due for longest; returns how many jobs were
    looked at. An incident whose worker died is due again after a minute."""
    return sum(
        _work(incident, now=now) for incident in claim_due(Incident.objects.all(), now=now, limit=1)
    )


def _work(incident: Incident, *, now: datetime) -> int:
    jobs = _to_settle(
        Choice(
            Which(incident.which),
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
    """One job, in a transaction with the totals that count it. What breaks on one stops none of the
    others."""
    totals = Incident.objects.filter(id=incident.id)
    try:
        with transaction.atomic(durable=True):
            if incident.which == Which.STUCK:
                job = manual.fail_job(job_id, now=now, quietly=True)
            else:
                job = manual.refund_job(job_id, acting_user_id=incident.started_by_id, now=now)
            # No more than was counted, and decided about, at the start: jobs that ran then have
            # been delivered meanwhile.
            within = totals.filter(settled_credits__lte=F("expected_credits") - job.credits)
            if not within.update(
                settled_jobs=F("settled_jobs") + 1,
                settled_credits=F("settled_credits") + job.credits,
                told_customers=F("told_customers") + int(_tell(incident, job, now=now)),
            ):
                raise _BeyondWhatWasCounted
    except InvalidState:
        pass  # it has ended, or was refunded, since we looked
    except _BeyondWhatWasCounted:
        logger.warning("incident_job_not_counted", job_id=str(job_id))
        totals.update(broken_jobs=F("broken_jobs") + 1)
    except Exception:
        logger.exception("incident_job_left_out", job_id=str(job_id))
        totals.update(broken_jobs=F("broken_jobs") + 1)


class _BeyondWhatWasCounted(Exception):
    """Takes back what was done to a job that the incident does not cover."""


def _tell(incident: Incident, job: Job, *, now: datetime) -> bool:
    """Whether this job is the one that its customer is told by."""
    returned = PushKind.CREDITS_RETURNED
    return incident.notify and notifications.notify_user(
        job, returned, now=now, subject_id=incident.id
    )
