"""Predictions and trainings as Replicate's API and webhooks return them."""

from typing import Any

from sandbox.fake_provider.downloads import UnusableSource
from sandbox.fake_provider.jobs import Job, Status
from sandbox.fake_provider.media import MediaRenderer
from sandbox.fake_provider.outcomes import Outcome
from sandbox.replicate.provider import version_id


def prediction_json(job: Job) -> dict[str, Any]:
    is_odd = job.scenario.outcome is Outcome.RESULT_ODD
    output = {"film": job.file_url()} if is_odd else job.file_url()
    return {**_job_json(job, "predictions"), **_end_json(job, output)}


def is_training(job: Job) -> bool:
    return job.model.endswith("/trainings")


def created_training_json(job: Job) -> dict[str, Any]:
    """Replicate's documented answer names the addresses of a prediction
    (https://replicate.com/docs/reference/http)."""
    return {**_job_json(job, "predictions"), "status": "starting"}


async def training_json(job: Job, renderer: MediaRenderer) -> dict[str, Any]:
    body = _job_json(job, "trainings")
    if job.status is not Status.COMPLETED or job.has_failed:
        return {**body, **_end_json(job, None)}
    try:
        await renderer.render(job.specs[0])
    except UnusableSource as error:
        return {**body, **_end_json(job, None), "status": "failed", "error": str(error)}
    if job.scenario.outcome is Outcome.RESULT_ODD:
        return {**body, **_end_json(job, {"film": job.file_url()})}
    version = f"{job.destination}:{version_id(job)}"
    return {**body, **_end_json(job, {"version": version, "weights": job.file_url()})}


def _job_json(job: Job, resource: str) -> dict[str, Any]:
    base = f"{job.files_url.removesuffix('/files')}/v1/{resource}/{job.request_id}"
    name, _, version = job.model.removesuffix("/trainings").partition("/versions/")
    return {
        "id": job.request_id,
        "model": name.partition(":")[0],
        "version": version or job.model,
        "input": job.input,
        "output": None,
        "error": None,
        "logs": "\n".join(line["message"] for line in job.logs()),
        "created_at": job.submitted_at.isoformat(),
        "urls": {"get": base, "cancel": f"{base}/cancel"},
    }


def _end_json(job: Job, output: Any) -> dict[str, Any]:
    """The status, and what a finished job has. `output` is that of a success."""
    match job.status:
        case Status.IN_QUEUE:
            return {"status": "starting"}
        case Status.IN_PROGRESS:
            return {"status": "processing"}
    metrics = {"metrics": {"predict_time": round(job.inference_seconds, 3)}}
    if job.cancelled is not None or job.scenario.outcome is Outcome.CANCELLED:
        return {**metrics, "status": "canceled"}
    if job.scenario.outcome is Outcome.ABORTED:
        return {**metrics, "status": "aborted"}
    if job.failure:
        return {**metrics, "status": "failed", **job.failure.body}
    return {**metrics, "status": "succeeded", "output": output}
