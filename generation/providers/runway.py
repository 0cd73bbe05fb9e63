"""Runway's API for video: tasks that are created, looked at and deleted.

https://docs.dev.runwayml.com/api and its own client (runwayml 5.24). There are no webhooks and no
idempotency key. A task is deleted with the very call that cancels it, finished or not, and then
nobody can fetch it any more.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import quote

from django.conf import settings

from generation.providers.base import (
    ACCOUNT_RETRY_SECONDS,
    NOT_THERE,
    CancelAnswer,
    Failed,
    Handle,
    Kind,
    Later,
    Media,
    Reason,
    Refused,
    State,
    Submission,
    Timeout,
    Unknown,
)
from generation.providers.parsing import as_object, words
from generation.providers.single_resource import Object, OneObjectProvider
from rendio.common import http

VERSION = "2024-11-06"
# Runway has one word for the shape of the picture, we have two.
RATIOS = {
    ("16:9", "720p"): "1280:720",
    ("9:16", "720p"): "720:1280",
    ("16:9", "1080p"): "1920:1080",
    ("9:16", "1080p"): "1080:1920",
}
# Beginnings of the failure codes that are about what the customer gave.
INPUT_FAILURES = ("SAFETY.", "INPUT_PREPROCESSING.", "ASSET.INVALID")


class Runway(OneObjectProvider):
    name = "runway"
    # As its client types them (runwayml 5.24, TaskRetrieveResponse).
    states = {
        "PENDING": State.WAITING,
        "THROTTLED": State.WAITING,
        "RUNNING": State.RUNNING,
        "SUCCEEDED": State.ENDED,
        "FAILED": State.ENDED,
        "CANCELLED": State.ENDED,
    }
    # SAFETY.OUTPUT is about what was made of an input that had passed.
    content_refusals = ("SAFETY.INPUT",)

    def submit(
        self, *, model_id: str, body: dict[str, Any], webhook_url: str, key_label: str
    ) -> Submission:
        shape = (str(body.get("aspect_ratio")), str(body.get("resolution")))
        if shape not in RATIOS:
            return Refused(Reason.PROVIDER_ERROR, "cannot_serve", f"no ratio for {shape}"[:200])
        rest = {k: v for k, v in body.items() if k not in {"aspect_ratio", "resolution"}}
        endpoint = "image_to_video" if "promptImage" in body else "text_to_video"
        order = {"model": model_id, "ratio": RATIOS[shape], **rest}
        return self._order(f"/v1/{endpoint}", order, model_id=model_id, key_label=key_label)

    def cancel(self, handle: Handle, *, timeout: Timeout | None = None) -> CancelAnswer:
        # Looked at first, for a finished one must stay; one that finishes in the moment between is
        # lost. Only we delete: what is not there any more has been stopped by an earlier call.
        task = self._look(handle.status_url, handle.key_label, timeout=timeout)
        if task == NOT_THERE:
            return CancelAnswer.STOPPED
        if isinstance(task, Unknown):
            return CancelAnswer.UNKNOWN
        if self._state(task) == State.ENDED:
            return CancelAnswer.TOO_LATE
        try:
            answer = self._ask("DELETE", handle.cancel_url, handle.key_label, timeout=timeout)
        except (http.NotSent, http.NoAnswer):
            return CancelAnswer.UNKNOWN
        return CancelAnswer.STOPPED if answer.ok or answer.status == 404 else CancelAnswer.UNKNOWN

    def handle_for(self, *, model_id: str, request_id: str, key_label: str) -> Handle:
        task = f"{self._access.url}/v1/tasks/{quote(request_id, safe='')}"
        return Handle(request_id, task, task, task, key_label)

    def _headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}", "X-Runway-Version": VERSION}

    def _progress(self, seen: Object) -> int | None:
        return _percent(seen.get("progress"))

    def _end(self, seen: Object, kind: Kind) -> Media | Failed:
        cost = _cost(seen.get("cost"))
        if seen["status"] == "CANCELLED":
            return Failed(Reason.CANCELLED, "cancelled", "", cost)
        if seen["status"] == "FAILED":
            code = words(seen.get("failureCode"), longest=80)
            by_input = code.startswith(INPUT_FAILURES)
            reason = Reason.REJECTED if by_input else Reason.PROVIDER_ERROR
            return Failed(reason, code, words(seen.get("failure"), longest=500), cost)
        output = seen.get("output")
        if isinstance(output, list) and output and isinstance(output[0], str):
            return Media(output[0], kind, cost)
        return Failed(Reason.UNUSABLE, "no_media", "no URL in the result", cost)

    def _complaint(self, said: Object) -> str:
        return str(said.get("error", ""))

    def _own_refusal(self, answer: http.Answer, said: Object) -> Submission | None:
        complaint = self._complaint(said)
        if answer.status == 400 and "credits" in complaint.lower():
            # An empty balance has no status of its own. Words are a poor sign, but the other
            # reading blames the customer.
            return Later(ACCOUNT_RETRY_SECONDS, "account", words(complaint, longest=500))
        return None

    def _price(self, said: Object) -> Decimal | None:
        return _cost(said.get("estimatedCost"))


def _cost(said: Any) -> Decimal | None:
    credits = _number(as_object(said).get("credits"))
    if credits is None:
        return None
    return Decimal(str(credits)) * settings.RUNWAY_CREDIT_USD


def _percent(progress: Any) -> int | None:
    """Runway counts from 0 to 1."""
    share = _number(progress)
    return None if share is None else int(min(share, 1) * 100)


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and 0 <= value < 1_000_000 else None
