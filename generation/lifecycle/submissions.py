"""Open submissions of jobs, and the handles to ask a provider about them."""

from __future__ import annotations

from uuid import UUID

from generation.models import LIVE_STATES, Job, ProviderRequest
from generation.providers.base import Handle


def open_submissions(jobs: list[Job]) -> dict[UUID, tuple[str, Handle]]:
    """Job id to (provider name, handle) of its live submission. Jobs without a handle are left
    out."""
    requests = ProviderRequest.objects.filter(job__in=jobs, state__in=LIVE_STATES).exclude(
        provider_request_id=""
    )
    return {request.job_id: (request.provider, to_handle(request)) for request in requests}


def to_handle(request: ProviderRequest) -> Handle:
    return Handle(
        request.provider_request_id,
        request.status_url,
        request.response_url,
        request.cancel_url,
        request.key_label,
        request.raw_result,
    )
