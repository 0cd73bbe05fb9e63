"""API views of generations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from uuid import UUID

import structlog
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _
from rest_framework.request import Request

from credits import idempotency
from credits.idempotency import IdempotentRequest, StoredResponse
from generation import media, queries, services
from generation.catalogue import cache
from generation.due_work import VIDEOS
from generation.lifecycle import webhooks
from generation.models import MEDIA_KINDS, JobStatus
from generation.provenance import provenance_answer
from generation.providers import find_provider
from generation.providers.base import MediaKind
from generation.providers.signatures import BadSignature
from generation.serializers import history_item, job_status, quote_answer, refund_fields
from rendio.common import clock
from rendio.common.errors import (
    InternalError,
    InvalidInput,
    NotFound,
    Unauthorized,
)
from rendio.common.outbound import http
from rendio.common.web import ratelimit
from rendio.common.web.api import (
    ApiView,
    PublicView,
    next_cursor,
    page_limits,
    parse_uuid,
    query_uuid,
)
from rendio.common.web.body import JobIdBody
from rendio.common.web.responses import ApiResponse

logger = structlog.get_logger(__name__)


class _PublicCatalogue(PublicView, ABC):
    """A catalogue list with an ETag: 304 if unchanged. `Accept-Language` selects the sort order."""

    limits = ()

    def get(self, request: Request) -> HttpResponse:
        body = self.json_by_language(cache.current())[translation.get_language()]
        etag = cache.etag(body)
        known = [
            tag.strip().removeprefix("W/")
            for tag in request.META.get("HTTP_IF_NONE_MATCH", "").split(",")
        ]
        response = (
            HttpResponse(status=304)
            if etag in known or "*" in known
            else HttpResponse(body, content_type="application/json")
        )
        response["ETag"] = etag
        response["Cache-Control"] = "public, max-age=0, must-revalidate"
        patch_vary_headers(response, ["Accept-Language"])
        return response

    @abstractmethod
    def json_by_language(self, current: cache.Catalogue) -> dict[str, bytes]:
        """The catalogue's JSON for each language."""


class GetModels(_PublicCatalogue):
    def json_by_language(self, current: cache.Catalogue) -> dict[str, bytes]:
        return current.models_json


class GetThemes(_PublicCatalogue):
    def json_by_language(self, current: cache.Catalogue) -> dict[str, bytes]:
        return current.themes_json


class QuoteVideo(ApiView):
    # A rate limit of its own, because each call adds a row.
    limits = ("quotes_per_user", "default_per_user")

    def post(self, request: Request) -> ApiResponse:
        quoted = services.quote(user_id=self.caller.user_id, body=self.body, now=clock.now())
        return ApiResponse(quote_answer(quoted))


class PaidCall(ApiView, ABC):
    """A call that starts a paid job, once for each idempotency key."""

    limits = ("generation_hour_per_user", "generation_minute_per_user", "generation_day_per_user")
    operation: str

    def post(self, request: Request) -> ApiResponse:
        attempt = idempotency.parse_request(
            user_id=self.caller.user_id,
            operation=self.operation,
            key=request.META.get("HTTP_IDEMPOTENCY_KEY"),
            body=self.body,
        )
        answer = self.execute(attempt)
        headers = {"X-Idempotent-Replay": "true"} if answer.replayed else None
        return ApiResponse(answer.body, status=answer.status, headers=headers)

    @abstractmethod
    def execute(self, attempt: IdempotentRequest) -> StoredResponse:
        """Create the job, or find the stored response of an earlier attempt."""


class GenerateVideo(PaidCall):
    """An order of any model, or of a model that makes `media`."""

    operation = "generate-video"
    media: MediaKind | None = None

    def execute(self, attempt: IdempotentRequest) -> StoredResponse:
        return services.generate(attempt=attempt, body=self.body, now=clock.now(), media=self.media)


class GenerateOnlyVideo(GenerateVideo):
    """The same operation as `generate-video`: an idempotency key is good for one of the two."""

    media = "video"


class GenerateImage(GenerateVideo):
    operation = "generate-image"
    media = "image"


class RetryVideoJob(PaidCall):
    operation = "retry-video-job"

    def execute(self, attempt: IdempotentRequest) -> StoredResponse:
        job_id = JobIdBody.job_id.parse(self.body)
        return services.retry(attempt=attempt, job_id=job_id, now=clock.now())


class GetVideoStatus(ApiView):
    def get(self, request: Request) -> ApiResponse:
        return self.answer(query_uuid(request, "job_id"))

    def answer(self, job_id: UUID) -> ApiResponse:
        job = queries.get_state(user_id=self.caller.user_id, job_id=job_id)
        body = job_status(job, now=clock.now())
        return ApiResponse(body, headers={"Retry-After": str(body["poll_after_seconds"])})


class GetGeneration(GetVideoStatus):
    """`get-video-status` with the id in the path."""

    def get(self, request: Request, job_id: str) -> ApiResponse:  # type: ignore[override]
        return self.answer(parse_uuid(job_id, "job_id"))


class GetJobs(ApiView):
    """The user's jobs of every kind."""

    # Only the jobs of this queue; None for all.
    queue: str | None = None

    def get(self, request: Request) -> ApiResponse:
        limit, offset, cursor = page_limits(request)
        jobs = queries.list_jobs(
            user_id=self.caller.user_id,
            limit=limit + 1,
            offset=offset,
            after=cursor,
            status=_query_choice(request, "status", JobStatus.values),
            kind=_query_choice(request, "kind", [kind for kind, _label in MEDIA_KINDS]),
            queue=self.queue,
        )
        page = jobs[:limit]
        return ApiResponse(
            {
                "jobs": [history_item(job) for job in page],
                "next_cursor": next_cursor(page[-1].id if len(jobs) > limit else None),
            }
        )


class GetVideoJobs(GetJobs):
    queue = VIDEOS


def _query_choice(request: Request, name: str, options: list[str]) -> str | None:
    """A value of the query string, None if it is omitted. Raises InvalidInput."""
    value = request.query_params.get(name)
    if value is not None and value not in options:
        problem = _("Must be one of %(options)s.") % {"options": ", ".join(options)}
        raise InvalidInput(fields={name: [problem]})
    return value


class GetProvenance(ApiView):
    def get(self, request: Request, job_id: str) -> ApiResponse:
        own_id = parse_uuid(job_id, "job_id")
        job = services.get_job(user_id=self.caller.user_id, job_id=own_id)
        return ApiResponse(provenance_answer(job))


class CancelVideoJob(ApiView):
    def post(self, request: Request) -> ApiResponse:
        return self.cancel(JobIdBody.job_id.parse(self.body))

    def cancel(self, job_id: UUID) -> ApiResponse:
        job = services.cancel_job(user_id=self.caller.user_id, job_id=job_id, now=clock.now())
        return ApiResponse({"job_id": job.id, "status": job.status, **refund_fields(job)})


class CancelGeneration(CancelVideoJob):
    """`cancel-video-job` with the id in the path."""

    def post(self, request: Request, job_id: str) -> ApiResponse:  # type: ignore[override]
        return self.cancel(parse_uuid(job_id, "job_id"))


class DeleteVideoJob(ApiView):
    def post(self, request: Request) -> ApiResponse:
        services.delete_job(
            user_id=self.caller.user_id,
            job_id=JobIdBody.job_id.parse(self.body),
            now=clock.now(),
        )
        return ApiResponse({"success": True})


class ProviderWebhook(PublicView):
    """A provider's webhook: verified over the raw body, stored, and processed by a worker.

    A bad signature is 401 and stores nothing. An internal failure is 5xx, so that the provider
    retries.
    """

    limits = ()

    def post(self, request: Request, provider: str) -> ApiResponse:
        if find_provider(provider) is None:
            raise NotFound
        ratelimit.check_forgery_limit(request)
        try:
            webhooks.receive(
                provider_name=provider,
                headers=request.headers,
                body=request._request.body,
                token=request.query_params.get("token", ""),
                now=clock.now(),
            )
        except BadSignature as problem:
            ratelimit.count_forgery(request)
            logger.warning("webhook_refused", provider=provider, problem=str(problem))
            raise Unauthorized from None
        except (http.NotSent, http.NoAnswer):
            logger.warning("webhook_keys_unavailable", provider=provider)
            raise InternalError(status=503) from None
        return ApiResponse({"success": True})


class Media(PublicView):
    limits = ()

    def get(self, request: Request, token: str) -> HttpResponseBase:
        return media.serve(request._request, token)
