"""A prediction as Replicate's API and webhooks return it."""

from typing import Any

from sandbox.fake_provider.jobs import Job, Status
from sandbox.fake_provider.outcomes import Outcome


def prediction_json(job: Job) -> dict[str, Any]:
    base = f"{job.files_url.removesuffix('/files')}/v1/predictions/{job.request_id}"
    body: dict[str, Any] = {
        "id": job.request_id,
        "model": job.model.partition(":")[0],
        "version": job.model,
        "input": job.input,
        "output": None,
        "error": None,
        "logs": "\n".join(line["message"] for line in job.logs()),
        "created_at": job.submitted_at.isoformat(),
        "urls": {"get": base, "cancel": f"{base}/cancel"},
    }
    match job.status:
        case Status.IN_QUEUE:
            return {**body, "status": "starting"}
        case Status.IN_PROGRESS:
            return {**body, "status": "processing"}
    body["metrics"] = {"predict_time": round(job.inference_seconds, 3)}
    if job.cancelled is not None or job.scenario.outcome is Outcome.CANCELLED:
        return {**body, "status": "canceled"}
    if job.scenario.outcome is Outcome.ABORTED:
        return {**body, "status": "aborted"}
    if job.failure:
        return {**body, "status": "failed", **job.failure.body}
    is_odd = job.scenario.outcome is Outcome.RESULT_ODD
    output = {"film": job.file_url()} if is_odd else job.file_url()
    return {**body, "status": "succeeded", "output": output}
