"""Provider webhooks: stored as deliveries first, then processed by a worker.

At least once, in any order. A delivery is only a hint: it makes a worker ask the provider for the
result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
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
    ProviderRoute,
    RequestState,
    Stage,
    WebhookDelivery,
)
from generation.providers import get_provider
from generation.providers.parsing import clean_text
from generation.providers.signatures import BadSignature
from rendio.common.background.due_rows import for_each_logged
from rendio.common.background.due_work import due_batch

logger = structlog.get_logger(__name__)

BATCH = APPLY_WEBHOOKS.batch
# The body is kept for staff to read. The result itself comes from the provider's API.
MAX_BODY_CHARS = 20_000
# Pause after a failure, so that failed deliveries do not delay others.
RETRY_DELAY = timedelta(minutes=1)
GIVE_UP_AFTER = timedelta(hours=1)


def receive(
    *, provider_name: str, headers: Mapping[str, str], body: bytes, token: str, now: datetime
) -> None:
    """Verify a webhook and store it. Raises BadSignature, or http errors of the key set's URL.

    A provider that signs no webhooks has the token of a submission from us alone: without one, the
    webhook is refused.
    """
    provider = get_provider(provider_name)
    event = provider.verify_webhook(headers=headers, body=body)
    if not provider.signs_webhooks and not _is_token_of_submission(provider_name, token):
        raise BadSignature("token")
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
    """Process stored deliveries, up to BATCH, each in its own transaction. Returns how many.

    A failed delivery is retried each minute for an hour: the provider keeps the result that long.
    Failures do not delay other deliveries.
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
            # Another worker may have locked the delivery.
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
    """Move the delivery's job to the stage STORE. Returns the outcome as a short text."""
    request = _find_submission(delivery)
    if request is None or not delivery.provider_request_id:
        return "unknown"
    # The job before its requests, as in all code: another order of locks would deadlock. Read the
    # request again under the lock: its deadline may have passed meanwhile.
    job = Job.objects.select_for_update(of=("self",)).get(id=request.job_id)
    requests = {one.id: one for one in ProviderRequest.objects.filter(job=job)}
    request = requests.pop(request.id)
    if request.state in {RequestState.REFUSED, RequestState.DEFERRED}:
        return "was refused"
    if not request.provider_request_id:
        if not _attach_provider_id(request, delivery):
            return "id taken"
    elif request.provider_request_id != delivery.provider_request_id:
        return "another id"
    changes: dict[str, Any] = {"webhook_received": True, "webhook_delivery_id": delivery.id}
    why_not = _ignored_reason(job, request, others=requests.values())
    if not why_not:
        # The webhook proves that the provider has the submission.
        changes |= {"state": RequestState.ACCEPTED, "ended_at": None}
    ProviderRequest.objects.filter(id=request.id).update(**changes)
    if why_not:
        return why_not
    if job.stage == Stage.DONE:
        # The result arrives after the refund. The user gets the video, and the refund stands.
        transitions.reopen_to_store(job, now=now)
        return "late"
    transitions.to_store(job, now=now)
    return "stored next"


def _is_token_of_submission(provider_name: str, token: str) -> bool:
    requests = ProviderRequest.objects.filter(provider=provider_name)
    return requests.filter(webhook_token=clean_text(token, max_length=40)).exists()


def _find_submission(delivery: WebhookDelivery) -> ProviderRequest | None:
    requests = ProviderRequest.objects.filter(provider=delivery.provider)
    if delivery.webhook_token:
        return requests.filter(webhook_token=delivery.webhook_token).first()
    return requests.filter(provider_request_id=delivery.provider_request_id).first()


def _ignored_reason(
    job: Job, request: ProviderRequest, *, others: Iterable[ProviderRequest]
) -> str:
    """Why the job does not need this submission's result, as a short text. Empty if it does.

    `others`: the job's other submissions.
    """
    if job.media_name or job.deleted_at or request.state not in OPEN_STATES:
        return "nothing to do"
    if job.stage in {Stage.STORE, Stage.CONVERT}:
        return "being stored"
    if job.stage == Stage.DONE and not (
        job.status in {JobStatus.FAILED, JobStatus.CANCELLED}
        and request.state == RequestState.UNKNOWN
    ):
        return "nothing to do"
    if any(other.state in LIVE_STATES for other in others):
        # This submission timed out, and the next one is running.
        return "another route was taken"
    return ""


def _attach_provider_id(request: ProviderRequest, delivery: WebhookDelivery) -> bool:
    """Store the provider's id for a submission whose answer was lost. False if the id is taken."""
    taken = ProviderRequest.objects.filter(
        provider=delivery.provider, provider_request_id=delivery.provider_request_id
    ).exists()
    if taken:
        return False
    route = ProviderRoute.objects.filter(id=request.route_id).first()
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
