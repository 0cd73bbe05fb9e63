"""Results that a provider has finished and cannot give: its result call or its files fail.

The user waits JOB_STORE_PATIENCE_SECONDS from the first failed fetch, then has the credits back
(generation.lifecycle.settle). The workers go on trying until the deadline of the stage STORE, and
what comes until then is the user's, for nothing. If the provider's webhook carried the result, that
is tried as well.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from generation.models import Job, ProviderRequest, WebhookDelivery
from generation.providers import get_provider
from generation.providers.base import MAX_RAW_CHARS, Media, MediaKind
from generation.providers.parsing import dump_json, parse_json_object


def record(job: Job, *, now: datetime) -> datetime:
    """Record a failed fetch, and keep the result that the webhook carried, for the next fetch.

    Returns the time of the first failed fetch.
    """
    request = ProviderRequest.objects.filter(job=job, ended_at=None).first()
    if request is None:
        return now
    changes: dict[str, Any] = {}
    if not request.raw_result:
        changes["raw_result"] = _result_in_webhook(request, job.media_kind)
    if request.fetch_failed_at is None:
        request.fetch_failed_at = changes["fetch_failed_at"] = now
    if any(changes.values()):
        ProviderRequest.objects.filter(id=request.id, ended_at=None).update(**changes)
    return request.fetch_failed_at


def _result_in_webhook(request: ProviderRequest, kind: MediaKind) -> str:
    """Return the result in the webhook of the submission as JSON. "" if none is there.

    Only from a signed webhook with the submission's own token: nobody else can name a file.
    """
    provider = get_provider(request.provider)
    if request.webhook_delivery_id is None or not provider.signs_webhooks:
        return ""
    delivery = WebhookDelivery.objects.filter(
        id=request.webhook_delivery_id, webhook_token=request.webhook_token
    ).first()
    if delivery is None:
        return ""
    result = provider.result_in_webhook(parse_json_object(delivery.body.encode()))
    if not isinstance(provider.parse_result(result, kind=kind), Media):
        return ""
    return dump_json(result, max_length=MAX_RAW_CHARS)
