"""fal.ai's queue API, as its own documentation and clients have it.

Submit, look, fetch, cancel: https://docs.fal.ai/model-apis/model-endpoints/queue; what an error
says: https://docs.fal.ai/model-apis/errors. Two things shape this module: fal has no idempotency
key, so a submit that was sent twice is two paid videos, and a job that failed is COMPLETED all the
same, so only the result tells.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from django.conf import settings

from generation.providers import fal_webhooks
from generation.providers.base import (
    ACCOUNT_RETRY_SECONDS,
    LONGEST_RAW,
    RATE_LIMITED,
    Accepted,
    CancelAnswer,
    Done,
    Failed,
    Handle,
    Kind,
    Later,
    Media,
    Provider,
    Reason,
    Refused,
    Running,
    State,
    Submission,
    Timeout,
    Unknown,
    WebhookEvent,
)
from generation.providers.parsing import (
    as_object,
    as_text,
    integer,
    percent_in,
    request_id_in,
    retry_after,
    words,
)
from rendio.common import http

STATUS_BYTES = 8_000_000
# Where a result of each kind has its file, or a list of files. Image models answer `images`, those
# that edit or enlarge one picture `image` (@fal-ai/client 1.10.1, types/endpoints.d.ts).
SHAPES: dict[Kind, tuple[str, ...]] = {"video": ("video", "videos"), "image": ("images", "image")}
# Ids in these namespaces have three segments in the request's URLs, all others two.
THREE_SEGMENTS = {"workflows", "comfy"}


class Fal(Provider):
    name = "fal"
    # A job that failed or was cancelled is COMPLETED as well: the result tells.
    states = {
        "IN_QUEUE": State.WAITING,
        "IN_PROGRESS": State.RUNNING,
        "COMPLETED": State.ENDED,
    }

    def submit(
        self, *, model_id: str, body: dict[str, Any], webhook_url: str, key_label: str
    ) -> Submission:
        answer = self._send(
            f"{self._access.url}/{model_id}",
            key_label,
            json=body,
            params={"fal_webhook": webhook_url},
        )
        if isinstance(answer, Later | Unknown):
            return answer
        said = as_object(answer.json())
        detail = _detail(said)
        if answer.ok:
            handle = self._handle(model_id, said, key_label)
            if handle is None:
                return Unknown("accepted without an id")
            return Accepted(handle, integer(said.get("queue_position")))
        match answer.status:
            case 429:
                return Later(retry_after(answer), RATE_LIMITED, detail)
            case 401 | 403:
                return Later(ACCOUNT_RETRY_SECONDS, "account", detail)
            case 404:
                return Refused(Reason.PROVIDER_ERROR, "no_such_model", detail)
            case 400 | 413 | 422 if _asks_for_another_try(answer):
                return Later(retry_after(answer), _error_type(answer, said), detail)
            case 400 | 413 | 422:
                return Refused(Reason.REJECTED, _error_type(answer, said), detail)
            case status:
                return Unknown(f"status {status}")

    def status(self, handle: Handle, *, timeout: Timeout | None = None) -> Running | Done | Unknown:
        said = self._status(handle, timeout=timeout)
        if isinstance(said, Unknown):
            return said
        match self._state(said):
            case State.WAITING:
                return Running(began=False, queue_position=integer(said.get("queue_position")))
            case State.RUNNING:
                return Running(began=True, progress=_progress(said.get("logs")))
            case State.ENDED:
                return Done()
            case unknown:
                return unknown

    def _status(
        self, handle: Handle, *, timeout: Timeout | None = None
    ) -> dict[str, Any] | Unknown:
        # With all lines of its log so far.
        return self._look(
            handle.status_url,
            handle.key_label,
            params={"logs": "1"},
            max_bytes=STATUS_BYTES,
            timeout=timeout,
        )

    def result(
        self, handle: Handle, *, kind: Kind = "video", timeout: Timeout | None = None
    ) -> Media | Failed | Running | Unknown:
        try:
            answer = self._ask("GET", handle.response_url, handle.key_label, timeout=timeout)
        except (http.NotSent, http.NoAnswer) as error:
            return Unknown(str(error))
        said = as_object(answer.json())
        if answer.status == 200:
            if not isinstance(answer.json(), dict):
                raw = words(answer.body.decode(errors="replace"), longest=LONGEST_RAW)
                return Unknown("no JSON object", raw)
            return self.read_result(said, kind=kind)
        return self._not_made(handle, answer, said)

    def read_result(self, said: Mapping[str, Any], *, kind: Kind) -> Media | Failed | Unknown:
        raw = as_text(said, longest=LONGEST_RAW)
        for name in SHAPES[kind]:
            found = said.get(name)
            first = found[0] if isinstance(found, list) and found else found
            if isinstance(url := as_object(first).get("url"), str):
                return Media(url, kind, raw=raw)
        return Failed(Reason.UNUSABLE, "no_media", "no URL in the result", raw=raw)

    def _not_made(
        self, handle: Handle, answer: http.Answer, said: dict[str, Any]
    ) -> Failed | Running | Unknown:
        """A result that is no media: the job's end, or only trouble with fetching it?"""
        error_type, detail = _error_type(answer, said), _detail(said)
        rejected = Failed(Reason.REJECTED, error_type, detail, _cost(answer))
        broken = Failed(Reason.PROVIDER_ERROR, error_type, detail, _cost(answer))
        match answer.status:
            case 499:
                return Failed(Reason.CANCELLED, error_type, detail, _cost(answer))
            case 400 if not error_type and "in progress" in detail.lower():
                return Running(began=True)
            case 400 | 422 if _asks_for_another_try(answer):
                # With another try it might have gone well: not the input's fault.
                return broken
            case 400 if error_type in {"downstream_service_error", ""}:
                return broken
            case 400 | 422:
                return rejected
            case status if status >= 500 and (error_type or said.get("detail")):
                # The job's own end, replayed with its own body; a bare 5xx is the gateway's. Where
                # fal's infrastructure speaks, fetching may have failed and not the job.
                if _infrastructure_error(answer, said) and not self._has_failed(handle):
                    return Unknown(f"status {status}")
                return broken
            case status:
                # Our key, a result that is not there (yet), a limit: none says that it failed.
                return Unknown(f"status {status}")

    def _has_failed(self, handle: Handle) -> bool:
        """Whether the queue says that the job itself broke on fal's infrastructure.

        Such an end is replayed when the result is fetched, in the same words in which fetching it
        can fail; but then the status has them too.
        """
        said = self._status(handle)
        return not isinstance(said, Unknown) and bool(said.get("error_type") or said.get("error"))

    def cancel(self, handle: Handle, *, timeout: Timeout | None = None) -> CancelAnswer:
        try:
            answer = self._ask("PUT", handle.cancel_url, handle.key_label, timeout=timeout)
        except (http.NotSent, http.NoAnswer):
            return CancelAnswer.UNKNOWN
        if answer.ok:
            return CancelAnswer.ASKED
        if answer.status in {400, 404}:
            return CancelAnswer.TOO_LATE
        return CancelAnswer.UNKNOWN

    def handle_for(self, *, model_id: str, request_id: str, key_label: str) -> Handle:
        segments = model_id.split("/")
        kept = 3 if segments[0] in THREE_SEGMENTS else 2
        app, name = "/".join(segments[:kept]), quote(request_id, safe="")
        base = f"{self._access.url}/{app}/requests/{name}"
        return Handle(request_id, f"{base}/status", base, f"{base}/cancel", key_label)

    def verify_webhook(self, *, headers: Mapping[str, str], body: bytes) -> WebhookEvent:
        return WebhookEvent(fal_webhooks.verify(headers, body))

    def _handle(self, model_id: str, said: dict[str, Any], key_label: str) -> Handle | None:
        """fal's own URLs, as fal advises. None where it did not say an id."""
        request_id = request_id_in(said.get("request_id"))
        if not request_id:
            return None
        known = self.handle_for(model_id=model_id, request_id=request_id, key_label=key_label)
        return Handle(
            request_id,
            self._queue_url(said.get("status_url")) or known.status_url,
            self._queue_url(said.get("response_url")) or known.response_url,
            self._queue_url(said.get("cancel_url")) or known.cancel_url,
            key_label,
        )

    def _queue_url(self, value: Any) -> str | None:
        """A URL under fal's queue: our key goes with each request, and goes nowhere else."""
        url = words(value, longest=1000)
        return url if any(url.startswith(f"{base}/") for base in self._bases) else None

    @property
    def _bases(self) -> list[str]:
        return [base for base in (self._access.url, settings.FAL_BACKUP_URL) if base]

    def _ask(self, method: str, url: str, key_label: str, **options: Any) -> http.Answer:
        """Ask fal; where no connection could be made, once more at its backup host, as fal's own
        client does: nothing has left us. Raises NotSent, NoAnswer."""
        try:
            return super()._ask(method, url, key_label, **options)
        except http.NotSent:
            path = url.removeprefix(self._access.url)
            if path == url or not settings.FAL_BACKUP_URL:
                raise
        return super()._ask(method, settings.FAL_BACKUP_URL + path, key_label, **options)

    def _headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Key {key}"}


def _asks_for_another_try(answer: http.Answer) -> bool:
    """fal's hint, under its new name and its old."""
    hints = (answer.headers.get(name, "") for name in ("X-Fal-Needs-Retry", "X-Fal-Retryable"))
    return any(hint.strip().lower() in {"1", "true"} for hint in hints)


def _cost(answer: http.Answer) -> Decimal | None:
    """Nothing where fal says so. Its units are those of its own price list, so no more than that
    can be read from them."""
    billed = answer.headers.get("X-Fal-Billable-Units", "").strip()
    return Decimal(0) if re.fullmatch(r"0+(\.0*)?", billed) else None


def _infrastructure_error(answer: http.Answer, said: dict[str, Any]) -> str:
    return words(answer.headers.get("X-Fal-Error-Type") or said.get("error_type"), longest=80)


def _error_type(answer: http.Answer, said: dict[str, Any]) -> str:
    """That of the infrastructure's errors, or the first `type` of the model's own."""
    if infrastructure := _infrastructure_error(answer, said):
        return infrastructure
    detail = said.get("detail")
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        return words(detail[0].get("type"), longest=80)
    return ""


def _detail(said: dict[str, Any]) -> str:
    """What went wrong in words, for support; the customer's own input is never in it."""
    detail = said.get("detail")
    if isinstance(detail, list):
        detail = "; ".join(str(item.get("msg", "")) for item in detail if isinstance(item, dict))
    return words(detail, longest=500)


def _progress(logs: Any) -> int | None:
    """The last percentage in the logs; fal has no field for it."""
    for line in reversed(logs if isinstance(logs, list) else []):
        if (percent := percent_in(as_object(line).get("message", ""))) is not None:
            return percent
    return None
