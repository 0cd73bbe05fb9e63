"""Replicate's HTTP API: predictions, and webhooks signed as Standard Webhooks says.

https://replicate.com/docs/reference/http and its own client (replicate 1.0.7). The states are those
of https://replicate.com/docs/topics/predictions/lifecycle, which is ahead of that client. Input
is checked when it is submitted; afterwards `error` alone tells why a prediction failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlsplit

from generation.providers.base import (
    NOT_THERE,
    CancelAnswer,
    Failed,
    Handle,
    Kind,
    Media,
    Reason,
    Refused,
    State,
    Submission,
    Timeout,
    Unknown,
    WebhookEvent,
)
from generation.providers.parsing import object_in, percent_in, words
from generation.providers.signatures import check_standard_webhook
from generation.providers.single_resource import Object, OneObjectProvider
from rendio.common import http

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
FILMS = (".mp4", ".mov", ".webm", ".mkv")
# How Replicate's models say that the input, or what came of it, was found unfit.
REJECTIONS = ("(E005)", "flagged as sensitive", "NSFW")

# States of a prediction that was stopped, after or before it began.
STOPPED = ("canceled", "aborted")


class Replicate(OneObjectProvider):
    name = "replicate"
    states = {
        "starting": State.WAITING,
        "processing": State.RUNNING,
        "succeeded": State.ENDED,
        "failed": State.ENDED,
        "canceled": State.ENDED,
        "aborted": State.ENDED,
    }

    def submit(
        self, *, model_id: str, body: dict[str, Any], webhook_url: str, key_label: str
    ) -> Submission:
        order: dict[str, Any] = {"version": model_id, "input": body}
        if self._access.webhook_secrets:
            order |= {"webhook": webhook_url, "webhook_events_filter": ["completed"]}
        return self._order("/v1/predictions", order, model_id=model_id, key_label=key_label)

    def cancel(self, handle: Handle, *, timeout: Timeout | None = None) -> CancelAnswer:
        prediction = self._look(handle.cancel_url, handle.key_label, method="POST", timeout=timeout)
        if prediction == NOT_THERE:
            return CancelAnswer.TOO_LATE
        if isinstance(prediction, Unknown):
            return CancelAnswer.UNKNOWN
        if prediction.get("status") in STOPPED:
            return CancelAnswer.STOPPED
        is_over = self._state(prediction) == State.ENDED
        return CancelAnswer.TOO_LATE if is_over else CancelAnswer.ASKED

    def handle_for(self, *, model_id: str, request_id: str, key_label: str) -> Handle:
        base = f"{self._access.url}/v1/predictions/{quote(request_id, safe='')}"
        return Handle(request_id, base, base, f"{base}/cancel", key_label)

    def verify_webhook(self, *, headers: Mapping[str, str], body: bytes) -> WebhookEvent:
        check_standard_webhook(headers, body, secrets=self._access.webhook_secrets)
        return WebhookEvent(words(object_in(body).get("id"), longest=100))

    def _headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def _progress(self, seen: Object) -> int | None:
        return percent_in(seen.get("logs"))

    def _end(self, seen: Object, kind: Kind) -> Media | Failed:
        if seen["status"] == "canceled":
            return Failed(Reason.CANCELLED, "canceled", "")
        if seen["status"] == "aborted":
            # Its deadline passed before it began, and that is not charged:
            # https://replicate.com/changelog/2025-10-16-prediction-deadlines
            return Failed(Reason.CANCELLED, "aborted", "", Decimal(0))
        if seen["status"] == "failed":
            error = words(seen.get("error"), longest=500)
            by_input = any(sign in error for sign in REJECTIONS)
            reason = Reason.REJECTED if by_input else Reason.PROVIDER_ERROR
            return Failed(reason, "content_policy_violation" if by_input else "failed", error)
        output = seen.get("output")
        outputs = output if isinstance(output, list) else [output]
        urls = [url for url in outputs if isinstance(url, str) and url]
        # Some models give a still beside the film.
        others = PICTURES if kind == "video" else FILMS
        fitting = [url for url in urls if not _names(url, others)]
        if not fitting:
            return Failed(Reason.UNUSABLE, "no_media", "no URL in the result")
        return Media(fitting[0], kind)

    def _complaint(self, said: Object) -> str:
        return str(said.get("detail", ""))

    def _own_refusal(self, answer: http.Answer, said: Object) -> Submission | None:
        if answer.status == 422 and str(said.get("title")).startswith("Invalid version"):
            return Refused(Reason.PROVIDER_ERROR, "no_such_model", "")
        return None


def _names(url: str, endings: tuple[str, ...]) -> bool:
    try:
        return urlsplit(url).path.lower().endswith(endings)
    except ValueError:
        return False
