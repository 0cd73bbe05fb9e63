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
)
from generation.providers.reading import as_object, request_id_in, retry_after, words
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


class Runway(Provider):
    name = "runway"

    def submit(
        self, *, model_id: str, body: dict[str, Any], webhook_url: str, key_label: str
    ) -> Submission:
        shape = (str(body.get("aspect_ratio")), str(body.get("resolution")))
        if shape not in RATIOS:
            return Refused(Reason.PROVIDER_ERROR, "cannot_serve", f"no ratio for {shape}"[:200])
        rest = {k: v for k, v in body.items() if k not in {"aspect_ratio", "resolution"}}
        endpoint = "image_to_video" if "promptImage" in body else "text_to_video"
        answer = self._send(
            f"{self._access.url}/v1/{endpoint}",
            key_label,
            json={"model": model_id, "ratio": RATIOS[shape], **rest},
        )
        if isinstance(answer, Later | Unknown):
            return answer
        said = as_object(answer.json())
        if not answer.ok:
            return _refusal(answer, words(said.get("error"), longest=500))
        if not (request_id := request_id_in(said.get("id"))):
            return Unknown("accepted without an id")
        handle = self.handle_for(model_id=model_id, request_id=request_id, key_label=key_label)
        return Accepted(handle, cost_usd=_cost(said.get("estimatedCost")))

    def status(self, handle: Handle) -> Running | Done | Unknown:
        task = self._look(handle.status_url, handle.key_label)
        return task if isinstance(task, Unknown) else _stage(task)

    def result(
        self, handle: Handle, *, timeout: Timeout | None = None
    ) -> Media | Failed | Running | Unknown:
        task = self._look(handle.status_url, handle.key_label, timeout=timeout)
        if isinstance(task, Unknown):
            return task
        stage = _stage(task)
        return _ended(task) if isinstance(stage, Done) else stage

    def cancel(self, handle: Handle, *, timeout: Timeout | None = None) -> CancelAnswer:
        # Only we delete: what is not there any more has been stopped by an earlier call.
        task = self._look(handle.status_url, handle.key_label, timeout=timeout)
        if task == NOT_THERE:
            return CancelAnswer.STOPPED
        if isinstance(task, Unknown):
            return CancelAnswer.UNKNOWN
        if isinstance(_stage(task), Done):
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


def _refusal(answer: http.Answer, detail: str) -> Submission:
    match answer.status:
        case 429:
            return Later(retry_after(answer), RATE_LIMITED, detail)
        case 401 | 402 | 403:
            return Later(ACCOUNT_RETRY_SECONDS, "account", detail)
        case 400 if "credits" in detail.lower():
            # An empty balance has no status of its own. Words are a poor sign, but the other
            # reading blames the customer.
            return Later(ACCOUNT_RETRY_SECONDS, "account", detail)
        case 404 | 405:
            return Refused(Reason.PROVIDER_ERROR, "no_such_model", detail)
        case 400 | 413 | 422:
            return Refused(Reason.REJECTED, "invalid_input", detail)
        case status:
            return Unknown(f"status {status}")


def _stage(task: dict[str, Any]) -> Running | Done | Unknown:
    match task.get("status"):
        case "PENDING" | "THROTTLED":
            return Running(began=False)
        case "RUNNING":
            return Running(began=True, progress=_percent(task.get("progress")))
        case "SUCCEEDED" | "FAILED" | "CANCELLED":
            return Done()
        case other:
            return Unknown(f"status {str(other)[:40]!r}")


def _ended(task: dict[str, Any]) -> Media | Failed:
    cost = _cost(task.get("cost"))
    if task["status"] == "CANCELLED":
        return Failed(Reason.CANCELLED, "cancelled", "", cost)
    if task["status"] == "FAILED":
        code = words(task.get("failureCode"), longest=80)
        by_input = code.startswith(INPUT_FAILURES)
        reason = Reason.REJECTED if by_input else Reason.PROVIDER_ERROR
        return Failed(reason, code, words(task.get("failure"), longest=500), cost)
    output = task.get("output")
    if isinstance(output, list) and output and isinstance(output[0], str):
        return Media(output[0], "video", cost)
    return Failed(Reason.UNUSABLE, "no_media", "no URL in the result", cost)


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
