"""Runway's video API: tasks are created, read and deleted.

Sources: https://docs.dev.runwayml.com/api and Runway's own client (runwayml 5.24). Runway has no
webhooks and no idempotency key. One call cancels a running task and deletes a finished one, and a
deleted task cannot be read any more.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import quote

from django.conf import settings

from generation.providers.base import (
    ACCOUNT_RETRY_SECONDS,
    NOT_FOUND,
    CancelResult,
    Failed,
    FailureReason,
    Handle,
    Media,
    MediaKind,
    ProviderState,
    Rejected,
    RetryLater,
    SubmitResult,
    Timeout,
    Unknown,
)
from generation.providers.parsing import clean_detail, clean_text, dict_or_empty
from generation.providers.single_resource import JsonObject, SingleResourceProvider
from rendio.common.outbound import http

API_VERSION = "2024-11-06"
# Runway has one field for aspect ratio and resolution. We have two.
RATIOS = {
    ("16:9", "720p"): "1280:720",
    ("9:16", "720p"): "720:1280",
    ("16:9", "1080p"): "1920:1080",
    ("9:16", "1080p"): "1080:1920",
}
# Prefixes of the failure codes that are caused by the customer's input.
INPUT_FAILURE_PREFIXES = ("SAFETY.", "INPUT_PREPROCESSING.", "ASSET.INVALID")


class Runway(SingleResourceProvider):
    name = "runway"
    # From the client's types (runwayml 5.24, TaskRetrieveResponse).
    states = {
        "PENDING": ProviderState.QUEUED,
        "THROTTLED": ProviderState.QUEUED,
        "RUNNING": ProviderState.RUNNING,
        "SUCCEEDED": ProviderState.FINISHED,
        "FAILED": ProviderState.FINISHED,
        "CANCELLED": ProviderState.FINISHED,
    }
    # SAFETY.OUTPUT rejects the result of an input that had passed moderation.
    content_rejection_prefixes = ("SAFETY.INPUT",)

    def submit(
        self, *, model_id: str, body: dict[str, Any], webhook_url: str, key_label: str
    ) -> SubmitResult:
        shape = (str(body.get("aspect_ratio")), str(body.get("resolution")))
        if shape not in RATIOS:
            return Rejected(
                FailureReason.PROVIDER_ERROR, "cannot_serve", f"no ratio for {shape}"[:200]
            )
        rest = {k: v for k, v in body.items() if k not in {"aspect_ratio", "resolution"}}
        endpoint = "image_to_video" if "promptImage" in body else "text_to_video"
        order = {"model": model_id, "ratio": RATIOS[shape], **rest}
        return self._post_job(f"/v1/{endpoint}", order, model_id=model_id, key_label=key_label)

    def cancel(self, handle: Handle, *, timeout: Timeout | None = None) -> CancelResult:
        # Read first, because DELETE would delete a finished task. A task that finishes between the
        # two calls is lost. Only we delete tasks: a missing task was cancelled by an earlier call.
        task = self._get_json(handle.status_url, handle.key_label, timeout=timeout)
        if task == NOT_FOUND:
            return CancelResult.CANCELLED
        if isinstance(task, Unknown):
            return CancelResult.UNKNOWN
        if self._parse_state(task) == ProviderState.FINISHED:
            return CancelResult.TOO_LATE
        try:
            response = self._request("DELETE", handle.cancel_url, handle.key_label, timeout=timeout)
        except (http.NotSent, http.NoAnswer):
            return CancelResult.UNKNOWN
        return (
            CancelResult.CANCELLED
            if response.ok or response.status == 404
            else CancelResult.UNKNOWN
        )

    def build_handle(self, *, model_id: str, request_id: str, key_label: str) -> Handle:
        task = f"{self._config.url}/v1/tasks/{quote(request_id, safe='')}"
        return Handle(request_id, task, task, task, key_label)

    def _auth_headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}", "X-Runway-Version": API_VERSION}

    def _parse_progress(self, resource: JsonObject) -> int | None:
        return _parse_percent(resource.get("progress"))

    def _parse_outcome(self, resource: JsonObject, kind: MediaKind) -> Media | Failed:
        cost = _parse_cost(resource.get("cost"))
        if resource["status"] == "CANCELLED":
            return Failed(FailureReason.CANCELLED, "cancelled", "", cost)
        if resource["status"] == "FAILED":
            code = clean_text(resource.get("failureCode"), max_length=80)
            is_rejection = code.startswith(INPUT_FAILURE_PREFIXES)
            reason = FailureReason.REJECTED if is_rejection else FailureReason.PROVIDER_ERROR
            return Failed(reason, code, clean_detail(resource.get("failure")), cost)
        output = resource.get("output")
        if isinstance(output, list) and output and isinstance(output[0], str):
            more = [url for url in output[1:] if isinstance(url, str)] if kind == "image" else []
            return Media(output[0], kind, cost, more_urls=tuple(more))
        return Failed(FailureReason.UNUSABLE, "no_media", "no URL in the result", cost)

    def _error_message(self, payload: JsonObject) -> str:
        return str(payload.get("error", ""))

    def _parse_special_rejection(
        self, response: http.Response, payload: JsonObject
    ) -> SubmitResult | None:
        message = self._error_message(payload)
        if response.status == 400 and "credits" in message.lower():
            # An empty balance has no status code of its own. Matching the text is weak, but the
            # alternative would blame the customer's input.
            return RetryLater(ACCOUNT_RETRY_SECONDS, "account", clean_detail(message))
        return None

    def _estimated_cost(self, payload: JsonObject) -> Decimal | None:
        return _parse_cost(payload.get("estimatedCost"))


def _parse_cost(payload: Any) -> Decimal | None:
    credits = _parse_number(dict_or_empty(payload).get("credits"))
    if credits is None:
        return None
    return Decimal(str(credits)) * settings.RUNWAY_CREDIT_USD


def _parse_percent(progress: Any) -> int | None:
    """Convert Runway's progress, 0 to 1, to percent."""
    share = _parse_number(progress)
    return None if share is None else int(min(share, 1) * 100)


def _parse_number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and 0 <= value < 1_000_000 else None
