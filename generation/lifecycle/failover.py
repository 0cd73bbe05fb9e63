"""On to a model's next route when one came to nothing.

Only where nothing runs any more (refused, or failed over there), or where an unknown outcome has
been waited for until the submit deadline. Each route fails a job once, so this ends; each hop is a
ProviderRequest of its own, and the database lets no two of a job be live.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import structlog
from django.conf import settings
from django.db import transaction

from generation import queries, routing
from generation.lifecycle import settle
from generation.models import Job, ProviderRequest, Stage
from generation.providers.base import Reason
from rendio.common import nudge

logger = structlog.get_logger(__name__)


def fail(
    job: Job,
    reason: Reason,
    *,
    now: datetime,
    error_type: str = "",
    detail: str = "",
    cost_usd: Decimal | None = None,
) -> bool:
    """The newest submission came to nothing: on to another route, or else the job's end.

    `cost_usd` is what its provider says it took all the same, None where it does not say. Opens
    transactions of its own. False where the job is no longer as it was claimed.
    """
    told: settle.Told = {"error_type": error_type, "detail": detail, "cost_usd": cost_usd}
    if _may_go_on(job, reason) and _go_on(job, reason, now=now, told=told):
        return True
    return settle.give_up(job, reason, now=now, **told)


def _may_go_on(job: Job, reason: Reason) -> bool:
    if job.is_terminal or job.deleted_at or job.cancel_requested_at:
        return False
    return reason == Reason.PROVIDER_ERROR or (reason == Reason.TIMEOUT and job.stage == Stage.SENT)


def _go_on(job: Job, reason: Reason, *, now: datetime, told: settle.Told) -> bool:
    with transaction.atomic(durable=True):
        held = settle.hold(job)
        request = ProviderRequest.objects.filter(job_id=job.id).order_by("-id").first()
        if held is None or request is None or not _may_go_on(held, reason):
            return False
        if not routing.has_another(held, besides=request.route_id, now=now):
            return False
        settle.end_request(held, reason, now=now, **told)
        held.tried_routes = [*held.tried_routes, str(request.route_id)]
        # What the next route is expected to take must not make the bar fall.
        held.progress = queries.progress(held, now=now)
        held.stage = Stage.SUBMIT
        held.tries = 0
        held.due_at = now
        held.deadline_at = now + timedelta(seconds=settings.JOB_SUBMIT_DEADLINE_SECONDS)
        held.leased_until = held.queue_position = None
        held.save(
            update_fields=[
                "tried_routes", "stage", "tries", "due_at", "deadline_at", "leased_until",
                "queue_position", "progress",
            ]
        )  # fmt: skip
        nudge.after_commit("generation.submit_due", queue=held.queue, with_queue=True)
    logger.info("next_route", job_id=str(job.id), after=request.provider, reason=reason.value)
    return True
