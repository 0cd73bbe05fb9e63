"""What webhooks tell. A delivery is stored before it is believed, and believed only as a hint.

At least once, in any order: what a delivery causes is that the provider itself is asked for the
result.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Q

from generation.due_work import APPLY_WEBHOOKS
from generation.lifecycle import dead_letters, transitions
from generation.models import (
    LIVE_STATES,
    OPEN_STATES,
    DeadKind,
    Job,
    JobStatus,
    ProviderRequest,
    RequestState,
    Route,
    Stage,
    WebhookDelivery,
)
from generation.providers import get_provider
from generation.providers.parsing import clean_text
from rendio.common.due import for_each_logged
from rendio.common.due_work import due_batch

logger = structlog.get_logger(__name__)

BATCH = APPLY_WEBHOOKS.batch
# Kept for a person to read; what it says is asked of the provider.
MAX_BODY_CHARS = 20_000
# Meanwhile it is the turn of others, however many broke.
RETRY_DELAY = timedelta(minutes=1)
GIVE_UP_AFTER = timedelta(hours=1)


def receive(
    *, provider_name: str, headers: Mapping[str, str], body: bytes, token: str, now: datetime
) -> None:
    """Verify a webhook and keep it. Raises BadSignature, or what kept us from verifying it."""
    event = get_provider(provider_name).verify_webhook(headers=headers, body=body)
    WebhookDelivery.objects.create(
        provider=provider_name,
        provider_request_id=clean_text(event.request_id, max_length=100),
        webhook_token=clean_text(token, max_length=40),
        body=clean_text(body.decode("utf-8", "replace"), max_length=MAX_BODY_CHARS),
        received_at=now,
    )
    APPLY_WEBHOOKS.wake_workers()


@due_batch(APPLY_WEBHOOKS)
def process_due(*, now: datetime) -> int:
    """Apply deliveries that have come in, up to BATCH; returns how many were looked at.

    One transaction each, and those that cannot be applied keep back none of the others: each is
    tried again after a minute, for as long as the provider keeps the result, an hour.
    """
    waiting = WebhookDelivery.objects.filter(
        Q(retry_at=None) | Q(retry_at__lte=now), processed_at=None
    ).order_by("received_at")
    ids = list(waiting.values_list("id", flat=True)[:BATCH])
    for_each_logged(ids, lambda delivery_id: _process_one(delivery_id, now=now))
    return len(ids)


def _process_one(delivery_id: UUID, *, now: datetime) -> None:
    unprocessed = WebhookDelivery.objects.filter(id=delivery_id, processed_at=None)
    try:
        with transaction.atomic(durable=True):
            # Another worker may have it in hand.
            if delivery := unprocessed.select_for_update(skip_locked=True).first():
                delivery.outcome = _process(delivery, now=now)
                delivery.processed_at = now
                delivery.save(update_fields=["outcome", "processed_at"])
    except Exception as error:
        why = f"failed: {type(error).__name__}"[:80]
        unprocessed.update(retry_at=now + RETRY_DELAY)
        if unprocessed.filter(received_at__lte=now - GIVE_UP_AFTER).update(
            processed_at=now, outcome=why
        ):
            dead_letters.record(DeadKind.DELIVERY, str(delivery_id), why, now=now)
        raise


def _process(delivery: WebhookDelivery, *, now: datetime) -> str:
    """Move the job that the delivery names to the stage STORE; returns what became of it, in
    words."""
    request = _find_submission(delivery)
    if request is None or not delivery.provider_request_id:
        return "unknown"
    # The job before its request, as everywhere: two orders would lock each other up. And the
    # request as it is under the lock: its deadline may have passed in between.
    job = Job.objects.select_for_update(of=("self",)).get(id=request.job_id)
    request.refresh_from_db()
    if request.state in {RequestState.REFUSED, RequestState.DEFERRED}:
        return "was refused"
    if not request.provider_request_id:
        if not _attach_provider_id(request, delivery):
            return "id taken"
    elif request.provider_request_id != delivery.provider_request_id:
        return "another id"
    ProviderRequest.objects.filter(id=request.id).update(webhook_received=True)
    if why_not := _ignored_reason(job, request):
        return why_not
    # Now it is known that the provider has it.
    request.state, request.ended_at = RequestState.ACCEPTED, None
    request.save(update_fields=["state", "ended_at"])
    if job.stage == Stage.DONE:
        # The result arrives after the refund. The user gets the video, and the refund stands.
        transitions.reopen_to_store(job, now=now)
        return "late"
    transitions.to_store(job, now=now)
    return "stored next"


def _find_submission(delivery: WebhookDelivery) -> ProviderRequest | None:
    requests = ProviderRequest.objects.filter(provider=delivery.provider)
    if delivery.webhook_token:
        return requests.filter(webhook_token=delivery.webhook_token).first()
    return requests.filter(provider_request_id=delivery.provider_request_id).first()


def _ignored_reason(job: Job, request: ProviderRequest) -> str:
    """Why this job does not wait for what this submission made, in words; empty if it does."""
    if job.media_name or job.deleted_at or request.state not in OPEN_STATES:
        return "nothing to do"
    if job.stage in {Stage.STORE, Stage.CONVERT}:
        return "being stored"
    if job.stage == Stage.DONE and not (
        job.status in {JobStatus.FAILED, JobStatus.CANCELLED}
        and request.state == RequestState.UNKNOWN
    ):
        return "nothing to do"
    if (
        ProviderRequest.objects.filter(job=job, state__in=LIVE_STATES)
        .exclude(id=request.id)
        .exists()
    ):
        # Nothing was heard of this one until its deadline, and the next is on its way.
        return "another route was taken"
    return ""


def _attach_provider_id(request: ProviderRequest, delivery: WebhookDelivery) -> bool:
    """The submission whose answer we never had: now we know its id, and so where to ask."""
    taken = ProviderRequest.objects.filter(
        provider=delivery.provider, provider_request_id=delivery.provider_request_id
    ).exists()
    if taken:
        return False
    route = Route.objects.filter(id=request.route_id).first()
    handle = get_provider(request.provider).build_handle(
        model_id=route.provider_model_id if route else "",
        request_id=delivery.provider_request_id,
        key_label=request.key_label,
    )
    request.provider_request_id = handle.request_id
    request.status_url = handle.status_url
    request.response_url = handle.response_url
    request.cancel_url = handle.cancel_url
    request.save(update_fields=["provider_request_id", "status_url", "response_url", "cancel_url"])
    return True
