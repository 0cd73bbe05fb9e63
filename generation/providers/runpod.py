"""RunPod's serverless endpoints: queues in front of our own workers on rented GPUs.

Sources: https://docs.runpod.io/serverless/endpoints/operation-reference and RunPod's own client
(runpod 1.12.0). Three properties shape this module. RunPod keeps a result for 30 minutes, then the
job is unknown. While a job runs, `output` has its progress, so only COMPLETED without an `error` is
a success. Webhooks are not signed.
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
    SubmitResult,
    Timeout,
)
from generation.providers.parsing import dict_or_empty, parse_int, parse_percent
from generation.providers.single_resource import JsonObject, SingleResourceProvider


class Runpod(SingleResourceProvider):
    name = "runpod"
    signs_webhooks = False
    # https://docs.runpod.io/serverless/endpoints/job-states. The client also knows RUNNING.
    states = {
        "IN_QUEUE": ProviderState.QUEUED,
        "IN_PROGRESS": ProviderState.RUNNING,
        "RUNNING": ProviderState.RUNNING,
        "COMPLETED": ProviderState.FINISHED,
        "FAILED": ProviderState.FINISHED,
        "CANCELLED": ProviderState.FINISHED,
        "TIMED_OUT": ProviderState.FINISHED,
    }
    cancelled_states = ("CANCELLED",)

    def submit(
        self, *, model_id: str, body: dict[str, Any], webhook_url: str, key_label: str
    ) -> SubmitResult:
        """`model_id` is a name of `settings.RUNPOD_ENDPOINTS`, or the id of an endpoint."""
        order = {"input": body, "webhook": webhook_url}
        path = f"{_endpoint_path(model_id)}/run"
        return self._post_job(path, order, model_id=model_id, key_label=key_label)

    def cancel(self, handle: Handle, *, timeout: Timeout | None = None) -> CancelResult:
        # Read first: what RunPod answers to the cancellation of a finished job is not documented.
        return self._cancel_unless_finished(handle, timeout=timeout)

    def build_handle(self, *, model_id: str, request_id: str, key_label: str) -> Handle:
        base, name = f"{self._config.url}{_endpoint_path(model_id)}", quote(request_id, safe="")
        status_url = f"{base}/status/{name}"
        return Handle(request_id, status_url, status_url, f"{base}/cancel/{name}", key_label)

    def _auth_headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def _parse_progress(self, resource: JsonObject) -> int | None:
        output = resource.get("output")
        if isinstance(output, dict):
            percent = parse_int(output.get("progress"))
            return None if percent is None else min(percent, 100)
        return parse_percent(output)

    def _parse_outcome(self, resource: JsonObject, kind: MediaKind) -> Media | Failed:
        cost = _parse_cost(resource)
        match resource["status"]:
            case "CANCELLED":
                return Failed(FailureReason.CANCELLED, "cancelled", "", cost)
            case "TIMED_OUT":
                # It ran for too long, or no worker took it from the queue in time.
                return Failed(FailureReason.PROVIDER_ERROR, "timed_out", "", cost)
            case "COMPLETED" if not resource.get("error"):
                return gpu_worker.parse_output(resource.get("output"), kind, cost)
        return gpu_worker.parse_error(resource.get("error"), cost)

    def _error_message(self, payload: JsonObject) -> str:
        return str(payload.get("error", ""))


def _endpoint_path(model_id: str) -> str:
    endpoint = settings.RUNPOD_ENDPOINTS.get(model_id, model_id)
    return f"/v2/{quote(endpoint, safe='')}"


def _parse_cost(resource: JsonObject) -> Decimal | None:
    """Return the price of the worker's time. None if RunPod does not report the time."""
    milliseconds = parse_int(dict_or_empty(resource).get("executionTime"))
    if milliseconds is None:
        return None
    return milliseconds * settings.RUNPOD_GPU_SECOND_USD / 1000
