"""A call as the app's responses and webhooks have it (`ops/modal/http_api.py`)."""

from typing import Any

from sandbox import gpu_worker
from sandbox.fake_provider.jobs import Job, Status
from sandbox.fake_provider.outcomes import CannedResponse, Outcome

FAILURES = {
    Outcome.ERROR: CannedResponse(
        200, {"status": "failed", "error": "OutOfMemoryError: CUDA out of memory."}
    ),
    Outcome.CONTENT_POLICY: CannedResponse(
        200, {"status": "failed", "error": gpu_worker.ERRORS[Outcome.CONTENT_POLICY]}
    ),
    Outcome.INVALID_INPUT: CannedResponse(
        200, {"status": "failed", "error": gpu_worker.INVALID_INPUT}
    ),
    Outcome.CANCELLED: CannedResponse(200, {"status": "cancelled"}),
    Outcome.ABORTED: CannedResponse(
        200, {"status": "failed", "error": "FunctionTimeoutError: the worker took too long"}
    ),
}


def call_json(job: Job) -> dict[str, Any]:
    body: dict[str, Any] = {"id": job.request_id}
    if job.status is Status.IN_QUEUE:
        return {**body, "status": "queued"}
    if job.status is Status.IN_PROGRESS:
        return {**body, "status": "running", "progress": gpu_worker.progress_percent(job)}
    if job.cancelled is not None or job.scenario.outcome is Outcome.CANCELLED:
        return {**body, "status": "cancelled"}
    body["execution_ms"] = gpu_worker.execution_ms(job)
    if job.failure:
        return {**body, **job.failure.body}
    return {**body, "status": "succeeded", "output": gpu_worker.output(job)}
