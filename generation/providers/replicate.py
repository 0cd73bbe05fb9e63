"""Replicate's HTTP API: predictions, and webhooks signed by the Standard Webhooks scheme.

Sources: https://replicate.com/docs/reference/http and Replicate's own client (replicate 1.0.7). The
states are those of https://replicate.com/docs/topics/predictions/lifecycle, which lists more than
the client. Replicate validates input at submit. Afterwards only `error` explains why a prediction
failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlsplit

from generation.providers.base import (
    CancelResult,
    Failed,
    FailureReason,
    Handle,
    Media,
    MediaKind,
    ProviderState,
    Rejected,
    SubmitResult,
    Timeout,
    WebhookEvent,
)
from generation.providers.parsing import clean_text, parse_json_object, parse_percent
from generation.providers.signatures import verify_standard_webhook
from generation.providers.single_resource import JsonObject, SingleResourceProvider
from rendio.common.outbound import http

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp")
VIDEO_EXTENSIONS = (".mp4", ".mov", ".webm", ".mkv")
# Texts by which Replicate's models report that the input or the output was rejected.
REJECTION_MARKERS = ("(E005)", "flagged as sensitive", "NSFW")


class Replicate(SingleResourceProvider):
    name = "replicate"
    states = {
        "starting": ProviderState.QUEUED,
        "processing": ProviderState.RUNNING,
        "succeeded": ProviderState.FINISHED,
        "failed": ProviderState.FINISHED,
        "canceled": ProviderState.FINISHED,
        "aborted": ProviderState.FINISHED,
    }
    # Cancelled while it ran, or before.
    cancelled_states = ("canceled", "aborted")

    def submit(
        self, *, model_id: str, body: dict[str, Any], webhook_url: str, key_label: str
    ) -> SubmitResult:
        order: dict[str, Any] = {"version": model_id, "input": body}
        if self._config.webhook_secrets:
            order |= {"webhook": webhook_url, "webhook_events_filter": ["completed"]}
        return self._post_job("/v1/predictions", order, model_id=model_id, key_label=key_label)

    def cancel(self, handle: Handle, *, timeout: Timeout | None = None) -> CancelResult:
        return self._cancel_by_post(handle, timeout=timeout)

    def build_handle(self, *, model_id: str, request_id: str, key_label: str) -> Handle:
        base = f"{self._config.url}/v1/predictions/{quote(request_id, safe='')}"
        return Handle(request_id, base, base, f"{base}/cancel", key_label)

    def verify_webhook(self, *, headers: Mapping[str, str], body: bytes) -> WebhookEvent:
        verify_standard_webhook(headers, body, secrets=self._config.webhook_secrets)
        return WebhookEvent(clean_text(parse_json_object(body).get("id"), max_length=100))

    def _auth_headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def _parse_progress(self, resource: JsonObject) -> int | None:
        return parse_percent(resource.get("logs"))

    def _parse_outcome(self, resource: JsonObject, kind: MediaKind) -> Media | Failed:
        if resource["status"] == "canceled":
            return Failed(FailureReason.CANCELLED, "canceled", "")
        if resource["status"] == "aborted":
            # The deadline passed before the prediction started. Not charged:
            return Failed(FailureReason.CANCELLED, "aborted", "", Decimal(0))
        if resource["status"] == "failed":
            error = clean_text(resource.get("error"), max_length=500)
            is_rejection = any(sign in error for sign in REJECTION_MARKERS)
            reason = FailureReason.REJECTED if is_rejection else FailureReason.PROVIDER_ERROR
            return Failed(reason, "content_policy_violation" if is_rejection else "failed", error)
        output = resource.get("output")
        outputs = output if isinstance(output, list) else [output]
        urls = [url for url in outputs if isinstance(url, str) and url]
        # Some models return a still image beside the video.
        others = IMAGE_EXTENSIONS if kind == "video" else VIDEO_EXTENSIONS
        fitting = [url for url in urls if not _has_extension(url, others)]
        if not fitting:
            return Failed(FailureReason.UNUSABLE, "no_media", "no URL in the result")
        return Media(fitting[0], kind, more_urls=tuple(fitting[1:]) if kind == "image" else ())

    def _error_message(self, payload: JsonObject) -> str:
        return str(payload.get("detail", ""))

    def _parse_special_rejection(
        self, response: http.Response, payload: JsonObject
    ) -> SubmitResult | None:
        if response.status == 422 and str(payload.get("title")).startswith("Invalid version"):
            return Rejected(FailureReason.PROVIDER_ERROR, "no_such_model", "")
        return None


def _has_extension(url: str, endings: tuple[str, ...]) -> bool:
    try:
        return urlsplit(url).path.lower().endswith(endings)
    except ValueError:
        return False
