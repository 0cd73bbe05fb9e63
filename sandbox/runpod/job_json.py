"""A job as RunPod's API and webhooks return it."""

from typing import Any

from sandbox import gpu_worker
from sandbox.fake_provider.jobs import Job, Status
from sandbox.fake_provider.outcomes import CannedResponse, Outcome

FAILURES = {
    Outcome.ERROR: CannedResponse(200, {"status": "FAILED", "error": gpu_worker.EXCEPTION}),
    Outcome.CONTENT_POLICY: CannedResponse(
        200, {"status": "FAILED", "error": gpu_worker.ERRORS[Outcome.CONTENT_POLICY]}
    ),
    # A worker that returns an error instead of raising one has completed its job.
    Outcome.INVALID_INPUT: CannedResponse(
        200, {"status": "COMPLETED", "error": gpu_worker.INVALID_INPUT}
    ),
    Outcome.CANCELLED: CannedResponse(200, {"status": "CANCELLED"}),
    Outcome.ABORTED: CannedResponse(200, {"status": "TIMED_OUT"}),
}


def job_json(job: Job) -> dict[str, Any]:
    body: dict[str, Any] = {"id": job.request_id}
    if job.status is Status.IN_QUEUE:
        return {**body, "status": "IN_QUEUE"}
    body["delayTime"] = round(1000 * job.scenario.timing.queue_seconds)
    if job.status is Status.IN_PROGRESS:
        # The worker reports its progress in the field of the result.
        progress = {"progress": gpu_worker.progress_percent(job)}
        return {**body, "status": "IN_PROGRESS", "output": progress}
    if job.cancelled is not None:
        return {**body, "status": "CANCELLED"}
    body["executionTime"] = gpu_worker.execution_ms(job)
    if job.failure:
        return {**body, **job.failure.body}
    return {**body, "status": "COMPLETED", "output": gpu_worker.output(job)}
