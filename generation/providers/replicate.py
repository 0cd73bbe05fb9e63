"""Replicate's HTTP API: predictions, and webhooks signed as Standard Webhooks says.

https://replicate.com/docs/reference/http and its own client (replicate 1.0.7). Input is checked
when it is submitted; afterwards `error` alone tells why a prediction failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from generation.providers.base import (
    ACCOUNT_RETRY_SECONDS,
    NOT_THERE,
    RATE_LIMITED,
    Accepted,
    CancelAnswer,
    Done,
    Failed,
    Handle,
    Later,
    Media,
    Provider,
    Reason,
    Refused,
    Running,
    Submission,
    Timeout,
    Unknown,
    WebhookEvent,
)
from generation.providers.reading import (
    as_object,
    object_in,
    percent_in,
    request_id_in,
    retry_after,
    words,
)
from generation.providers.signatures import check_standard_webhook
from rendio.common import http

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
# How Replicate's models say that the input, or what came of it, was found unfit.
REJECTIONS = ("(E005)", "flagged as sensitive", "NSFW")


class Replicate(Provider):
    name = "replicate"

    def submit(
        self, *, model_id: str, body: dict[str, Any], webhook_url: str, key_label: str
    ) -> Submission:
        order: dict[str, Any] = {"version": model_id, "input": body}
        if self._access.webhook_secrets:
            order |= {"webhook": webhook_url, "webhook_events_filter": ["completed"]}
        answer = self._send(f"{self._access.url}/v1/predictions", key_label, json=order)
        if isinstance(answer, Later | Unknown):
            return answer
        said = as_object(answer.json())
        if not answer.ok:
            return _refusal(answer, said)
        if not (request_id := request_id_in(said.get("id"))):
            return Unknown("accepted without an id")
        return Accepted(
            self.handle_for(model_id=model_id, request_id=request_id, key_label=key_label)
        )

    def status(self, handle: Handle) -> Running | Done | Unknown:
        prediction = self._look(handle.status_url, handle.key_label)
        return prediction if isinstance(prediction, Unknown) else _stage(prediction)

    def result(
        self, handle: Handle, *, timeout: Timeout | None = None
    ) -> Media | Failed | Running | Unknown:
        prediction = self._look(handle.response_url, handle.key_label, timeout=timeout)
        if isinstance(prediction, Unknown):
            return prediction
        stage = _stage(prediction)
        return _ended(prediction) if isinstance(stage, Done) else stage

    def cancel(self, handle: Handle, *, timeout: Timeout | None = None) -> CancelAnswer:
        prediction = self._look(handle.cancel_url, handle.key_label, method="POST", timeout=timeout)
        if prediction == NOT_THERE:
            return CancelAnswer.TOO_LATE
        if isinstance(prediction, Unknown):
            return CancelAnswer.UNKNOWN
        match prediction.get("status"):
            case "canceled":
                return CancelAnswer.STOPPED
            case "succeeded" | "failed":
                return CancelAnswer.TOO_LATE
        return CancelAnswer.ASKED

    def handle_for(self, *, model_id: str, request_id: str, key_label: str) -> Handle:
        base = f"{self._access.url}/v1/predictions/{quote(request_id, safe='')}"
        return Handle(request_id, base, base, f"{base}/cancel", key_label)

    def verify_webhook(self, *, headers: Mapping[str, str], body: bytes) -> WebhookEvent:
        check_standard_webhook(headers, body, secrets=self._access.webhook_secrets)
        return WebhookEvent(words(object_in(body).get("id"), longest=100))

    def _headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"}


def _refusal(answer: http.Answer, said: dict[str, Any]) -> Submission:
    title, detail = words(said.get("title"), longest=80), words(said.get("detail"), longest=500)
    match answer.status:
        case 429:
            return Later(retry_after(answer), RATE_LIMITED, detail)
        case 401 | 402 | 403:
            return Later(ACCOUNT_RETRY_SECONDS, "account", detail)
        case 404:
            return Refused(Reason.PROVIDER_ERROR, "no_such_model", detail)
        case 422 if title.startswith("Invalid version"):
            return Refused(Reason.PROVIDER_ERROR, "no_such_model", detail)
        case 400 | 413 | 422:
            return Refused(Reason.REJECTED, "invalid_input", detail)
        case status:
            return Unknown(f"status {status}")


def _stage(prediction: dict[str, Any]) -> Running | Done | Unknown:
    match prediction.get("status"):
        case "starting":
            return Running(began=False)
        case "processing":
            return Running(began=True, progress=percent_in(prediction.get("logs")))
        case "succeeded" | "failed" | "canceled":
            return Done()
        case other:
            return Unknown(f"status {str(other)[:40]!r}")


def _ended(prediction: dict[str, Any]) -> Media | Failed:
    if prediction["status"] == "canceled":
        return Failed(Reason.CANCELLED, "canceled", "")
    if prediction["status"] == "failed":
        error = words(prediction.get("error"), longest=500)
        by_input = any(sign in error for sign in REJECTIONS)
        reason = Reason.REJECTED if by_input else Reason.PROVIDER_ERROR
        return Failed(reason, "content_policy_violation" if by_input else "failed", error)
    output = prediction.get("output")
    url = output[0] if isinstance(output, list) and output else output
    if not isinstance(url, str):
        return Failed(Reason.UNUSABLE, "no_media", "no URL in the result")
    return Media(url, "image" if _names_picture(url) else "video")


def _names_picture(url: str) -> bool:
    try:
        return urlsplit(url).path.lower().endswith(PICTURES)
    except ValueError:
        return False
