"""Our own app on Modal (`ops/modal`), which runs our workers on rented GPUs.

Sources: `ops/modal/http_api.py`, whose description lists the calls, and https://modal.com/docs/guide
(webhook-timeouts, webhook-proxy-auth, job-queue). Modal answers a call that takes longer than 150
seconds with a 303 to an address that waits for the answer and starts nothing new. Calls that Modal
refuses before they reach the app have a text as their body. Webhooks are sent by the app and are
not signed.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import quote

from django.conf import settings

from generation.providers import gpu_worker
from generation.providers.base import (
    CancelResult,
    Failed,
    FailureReason,
    Handle,
    Media,
    MediaKind,
    ProviderState,
    RetryLater,
    SubmitResult,
    Timeout,
    Unknown,
)
from generation.providers.parsing import parse_int
from generation.providers.single_resource import JsonObject, SingleResourceProvider
from rendio.common.outbound import http


class Modal(SingleResourceProvider):
    name = "modal"
    signs_webhooks = False
    # Of ops/modal/http_api.py.
    states = {
        "queued": ProviderState.QUEUED,
        "running": ProviderState.RUNNING,
        "succeeded": ProviderState.FINISHED,
        "failed": ProviderState.FINISHED,
        "cancelled": ProviderState.FINISHED,
    }
    cancelled_states = ("cancelled",)

    def submit(
        self, *, model_id: str, body: dict[str, Any], webhook_url: str, key_label: str
    ) -> SubmitResult:
        order = {"model": model_id, "input": body, "webhook": webhook_url}
        return self._post_job("/submit", order, model_id=model_id, key_label=key_label)

    def cancel(self, handle: Handle, *, timeout: Timeout | None = None) -> CancelResult:
        return self._cancel_by_post(handle, timeout=timeout)

    def build_handle(self, *, model_id: str, request_id: str, key_label: str) -> Handle:
        base, name = self._config.url, quote(request_id, safe="")
        result_url = f"{base}/result/{name}"
        return Handle(request_id, result_url, result_url, f"{base}/cancel/{name}", key_label)

    def _post_once(
        self, url: str, key_label: str, **options: Any
    ) -> http.Response | RetryLater | Unknown:
        """POST once. A 303 is followed by a GET, which waits for the answer to the same POST."""
        response = super()._post_once(url, key_label, **options)
        if not isinstance(response, http.Response) or response.status != 303:
            return response
        try:
            target = self._redirect_target(url, response)
            answer = self._request("GET", target, key_label) if target else response
        except (http.NotSent, http.NoAnswer) as error:
            return Unknown(str(error))
        # Whatever this says instead, the POST may have started the job.
        return answer if answer.ok else Unknown(f"status {answer.status} after a redirect")

    def _auth_headers(self, key: str) -> dict[str, str]:
        token_id, _, token_secret = key.partition(":")
        return {"Modal-Key": token_id, "Modal-Secret": token_secret}

    def _parse_progress(self, resource: JsonObject) -> int | None:
        percent = parse_int(resource.get("progress"))
        return None if percent is None else min(percent, 100)

    def _parse_outcome(self, resource: JsonObject, kind: MediaKind) -> Media | Failed:
        cost = _parse_cost(resource)
        match resource["status"]:
            case "cancelled":
                return Failed(FailureReason.CANCELLED, "cancelled", "", cost)
            case "failed":
                return gpu_worker.parse_error(resource.get("error"), cost)
        return gpu_worker.parse_output(resource.get("output"), kind, cost)

    def _error_message(self, payload: JsonObject) -> str:
        return str(payload.get("error", ""))


def _parse_cost(resource: JsonObject) -> Decimal | None:
    """Return the price of the worker's time. None if the app does not report the time."""
    milliseconds = parse_int(resource.get("execution_ms"))
    return None if milliseconds is None else milliseconds * settings.MODAL_GPU_SECOND_USD / 1000
