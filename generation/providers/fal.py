"""fal.ai's queue API.

Sources: https://docs.fal.ai/model-apis/model-endpoints/queue and
https://docs.fal.ai/model-apis/errors. Two properties shape this module. fal has no idempotency key,
so a repeated submit is a second paid video. A failed job is COMPLETED too, so only the result says
whether it succeeded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from django.conf import settings

from generation.providers import fal_webhooks
from generation.providers.base import (
    ACCOUNT_RETRY_SECONDS,
    MAX_RAW_CHARS,
    RATE_LIMITED,
    Accepted,
    CancelResult,
    Done,
    Failed,
    FailureReason,
    Handle,
    Media,
    MediaKind,
    Provider,
    ProviderState,
    Rejected,
    RetryLater,
    Running,
    SubmitResult,
    Timeout,
    Unknown,
    WebhookEvent,
)
from generation.providers.parsing import (
    clean_detail,
    clean_text,
    dict_or_empty,
    dump_json,
    parse_int,
    parse_percent,
    parse_request_id,
    parse_retry_after,
)
from rendio.common.outbound import http

MAX_STATUS_BYTES = 8_000_000
# Fields of a result that have the file, or a list of files, by media kind. Image models return
# `images`; models that edit or enlarge an image return `image`; trainers return
# `diffusers_lora_file`, some `lora_file` (@fal-ai/client 1.10.1, types/endpoints.d.ts).
MEDIA_FIELDS: dict[MediaKind, tuple[str, ...]] = {
    "video": ("video", "videos"),
    "image": ("images", "image"),
    "weights": ("diffusers_lora_file", "lora_file"),
}
# Model ids in these namespaces have three segments in request URLs. All others have two.
THREE_SEGMENT_NAMESPACES = {"workflows", "comfy"}


class Fal(Provider):
    name = "fal"
    # Failed and cancelled jobs are COMPLETED too. Only the result tells them apart.
    states = {
        "IN_QUEUE": ProviderState.QUEUED,
        "IN_PROGRESS": ProviderState.RUNNING,
        "COMPLETED": ProviderState.FINISHED,
    }

    def submit(
        self, *, model_id: str, body: dict[str, Any], webhook_url: str, key_label: str
    ) -> SubmitResult:
        response = self._post_once(
            f"{self._config.url}/{model_id}",
            key_label,
            json=body,
            params={"fal_webhook": webhook_url},
            headers=_file_lifetime(),
        )
        if isinstance(response, RetryLater | Unknown):
            return response
        payload = dict_or_empty(response.json())
        detail = _parse_detail(payload)
        if response.ok:
            handle = self._parse_handle(model_id, payload, key_label)
            if handle is None:
                return Unknown("accepted without an id")
            return Accepted(handle, parse_int(payload.get("queue_position")))
        match response.status:
            case 429:
                return RetryLater(parse_retry_after(response), RATE_LIMITED, detail)
            case 401 | 403:
                return RetryLater(ACCOUNT_RETRY_SECONDS, "account", detail)
            case 404:
                return Rejected(FailureReason.PROVIDER_ERROR, "no_such_model", detail)
            case 400 | 413 | 422 if _is_retryable(response):
                return RetryLater(
                    parse_retry_after(response), _parse_error_type(response, payload), detail
                )
            case 400 | 413 | 422:
                return Rejected(
                    FailureReason.REJECTED, _parse_error_type(response, payload), detail
                )
            case status:
                return Unknown(f"status {status}")

    def status(self, handle: Handle, *, timeout: Timeout | None = None) -> Running | Done | Unknown:
        payload = self._get_status(handle, timeout=timeout)
        if isinstance(payload, Unknown):
            return payload
        match self._parse_state(payload):
            case ProviderState.QUEUED:
                return Running(
                    is_started=False, queue_position=parse_int(payload.get("queue_position"))
                )
            case ProviderState.RUNNING:
                return Running(is_started=True, progress=_parse_progress(payload.get("logs")))
            case ProviderState.FINISHED:
                return Done()
            case unknown:
                return unknown

    def _get_status(
        self, handle: Handle, *, timeout: Timeout | None = None
    ) -> dict[str, Any] | Unknown:
        # Includes the whole log.
        return self._get_json(
            handle.status_url,
            handle.key_label,
            params={"logs": "1"},
            max_bytes=MAX_STATUS_BYTES,
            timeout=timeout,
        )

    def result(
        self, handle: Handle, *, kind: MediaKind = "video", timeout: Timeout | None = None
    ) -> Media | Failed | Running | Unknown:
        try:
            response = self._request("GET", handle.response_url, handle.key_label, timeout=timeout)
        except (http.NotSent, http.NoAnswer) as error:
            return Unknown(str(error))
        payload = dict_or_empty(response.json())
        if response.status == 200:
            if not isinstance(response.json(), dict):
                raw = clean_text(response.body.decode(errors="replace"), max_length=MAX_RAW_CHARS)
                return Unknown("no JSON object", raw)
            return self.parse_result(payload, kind=kind)
        return self._parse_failure(handle, response, payload)

    def parse_result(
        self, payload: Mapping[str, Any], *, kind: MediaKind
    ) -> Media | Failed | Unknown:
        raw = dump_json(payload, max_length=MAX_RAW_CHARS)
        for name in MEDIA_FIELDS[kind]:
            found = payload.get(name)
            files = found if isinstance(found, list) else [found]
            urls = [dict_or_empty(file).get("url") for file in files]
            if not isinstance(urls[0] if urls else None, str):
                continue
            shown = [
                url
                for number, url in enumerate(urls)
                if isinstance(url, str) and not _is_flagged(payload, number)
            ]
            if not shown:
                return Failed(FailureReason.RESULT_FLAGGED, "has_nsfw_concepts", "", raw=raw)
            more = tuple(shown[1:]) if kind == "image" else ()
            return Media(shown[0], kind, raw=raw, more_urls=more)
        return Failed(FailureReason.UNUSABLE, "no_media", "no URL in the result", raw=raw)

    def result_in_webhook(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        return dict_or_empty(payload.get("payload"))

    def _parse_failure(
        self, handle: Handle, response: http.Response, payload: dict[str, Any]
    ) -> Failed | Running | Unknown:
        """Decide whether an error response is the job's final state or a failed fetch."""
        error_type, detail = _parse_error_type(response, payload), _parse_detail(payload)
        rejected = Failed(FailureReason.REJECTED, error_type, detail, _parse_cost(response))
        broken = Failed(FailureReason.PROVIDER_ERROR, error_type, detail, _parse_cost(response))
        match response.status:
            case 499:
                return Failed(FailureReason.CANCELLED, error_type, detail, _parse_cost(response))
            case 400 if not error_type and "in progress" in detail.lower():
                return Running(is_started=True)
            case 400 | 422 if _is_retryable(response):
                # fal marks the error as retryable, so the input is not the cause.
                return broken
            case 400 if error_type in {"downstream_service_error", ""}:
                return broken
            case 400 | 422:
                return rejected
            case status if status >= 500 and (error_type or payload.get("detail")):
                # A 5xx with a body is the job's own failure, replayed. A bare 5xx comes from the
                # gateway. An error of fal's infrastructure may mean that only the fetch failed.
                if _parse_infrastructure_error(response, payload) and not self._is_job_failed(
                    handle
                ):
                    return Unknown(f"status {status}")
                return broken
            case status:
                # Our API key, a missing result or a rate limit. None of them says that the job
                # failed.
                return Unknown(f"status {status}")

    def _is_job_failed(self, handle: Handle) -> bool:
        """Whether the queue reports that the job itself failed on fal's infrastructure.

        The result replays such a failure in the same words that a failed fetch has. Only for a
        failed job the status has them too.
        """
        payload = self._get_status(handle)
        return not isinstance(payload, Unknown) and bool(
            payload.get("error_type") or payload.get("error")
        )

    def cancel(self, handle: Handle, *, timeout: Timeout | None = None) -> CancelResult:
        try:
            response = self._request("PUT", handle.cancel_url, handle.key_label, timeout=timeout)
        except (http.NotSent, http.NoAnswer):
            return CancelResult.UNKNOWN
        if response.ok:
            return CancelResult.REQUESTED
        if response.status in {400, 404}:
            return CancelResult.TOO_LATE
        return CancelResult.UNKNOWN

    def build_handle(self, *, model_id: str, request_id: str, key_label: str) -> Handle:
        segments = model_id.split("/")
        kept = 3 if segments[0] in THREE_SEGMENT_NAMESPACES else 2
        app, name = "/".join(segments[:kept]), quote(request_id, safe="")
        base = f"{self._config.url}/{app}/requests/{name}"
        return Handle(request_id, f"{base}/status", base, f"{base}/cancel", key_label)

    def verify_webhook(self, *, headers: Mapping[str, str], body: bytes) -> WebhookEvent:
        return WebhookEvent(fal_webhooks.verify(headers, body))

    def _parse_handle(
        self, model_id: str, payload: dict[str, Any], key_label: str
    ) -> Handle | None:
        """Use the URLs that fal returned, as fal advises. None without a request id."""
        request_id = parse_request_id(payload.get("request_id"))
        if not request_id:
            return None
        known = self.build_handle(model_id=model_id, request_id=request_id, key_label=key_label)
        return Handle(
            request_id,
            self._allowed_url(payload.get("status_url")) or known.status_url,
            self._allowed_url(payload.get("response_url")) or known.response_url,
            self._allowed_url(payload.get("cancel_url")) or known.cancel_url,
            key_label,
        )

    def _allowed_url(self, value: Any) -> str | None:
        """Return the URL if it is under fal's queue, because the API key is sent along. None
        otherwise."""
        url = clean_text(value, max_length=1000)
        return url if any(url.startswith(f"{base}/") for base in self._allowed_base_urls) else None

    @property
    def _allowed_base_urls(self) -> list[str]:
        return [base for base in (self._config.url, settings.FAL_BACKUP_URL) if base]

    def _request(self, method: str, url: str, key_label: str, **options: Any) -> http.Response:
        """Send one request. If no connection was made, retry once at the backup host, as fal's own
        client does: nothing has been sent yet. Raises NotSent, NoAnswer."""
        try:
            return super()._request(method, url, key_label, **options)
        except http.NotSent:
            path = url.removeprefix(self._config.url)
            if path == url or not settings.FAL_BACKUP_URL:
                raise
        return super()._request(method, settings.FAL_BACKUP_URL + path, key_label, **options)

    def _auth_headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Key {key}"}


def _file_lifetime() -> dict[str, str]:
    """fal has no call to delete a file. So each result, weights of a trained model included, is
    sent with its lifetime (https://docs.fal.ai/model-apis/model-endpoints/queue)."""
    seconds = settings.FAL_FILE_DAYS * 24 * 3600
    lifetime = json.dumps({"expiration_duration_seconds": seconds})
    return {"X-Fal-Object-Lifecycle-Preference": lifetime}


def _is_flagged(payload: Mapping[str, Any], number: int) -> bool:
    """Whether fal's safety checker blackened this image."""
    flags = payload.get("has_nsfw_concepts")
    return isinstance(flags, list) and number < len(flags) and flags[number] is True


def _is_retryable(response: http.Response) -> bool:
    """Whether fal marks the error as retryable. The header has a new and an old name."""
    hints = (response.headers.get(name, "") for name in ("X-Fal-Needs-Retry", "X-Fal-Retryable"))
    return any(hint.strip().lower() in {"1", "true"} for hint in hints)


def _parse_cost(response: http.Response) -> Decimal | None:
    """Return 0 if fal billed nothing, else None: billable units cannot be converted to USD."""
    billed = response.headers.get("X-Fal-Billable-Units", "").strip()
    return Decimal(0) if re.fullmatch(r"0+(\.0*)?", billed) else None


def _parse_infrastructure_error(response: http.Response, payload: dict[str, Any]) -> str:
    return clean_text(
        response.headers.get("X-Fal-Error-Type") or payload.get("error_type"), max_length=80
    )


def _parse_error_type(response: http.Response, payload: dict[str, Any]) -> str:
    """Return the infrastructure's error type, else the first `type` of the model's error list."""
    if infrastructure := _parse_infrastructure_error(response, payload):
        return infrastructure
    detail = payload.get("detail")
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        return clean_text(detail[0].get("type"), max_length=80)
    return ""


def _parse_detail(payload: dict[str, Any]) -> str:
    """Return the error message for support. It never contains the customer's input."""
    detail = payload.get("detail")
    if isinstance(detail, list):
        detail = "; ".join(str(item.get("msg", "")) for item in detail if isinstance(item, dict))
    return clean_detail(detail)


def _parse_progress(logs: Any) -> int | None:
    """Return the last percentage in the logs. fal has no progress field."""
    for line in reversed(logs if isinstance(logs, list) else []):
        if (percent := parse_percent(dict_or_empty(line).get("message", ""))) is not None:
            return percent
    return None
