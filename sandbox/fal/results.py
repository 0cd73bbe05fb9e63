"""The result of a finished job, as the result endpoint and the webhook return it."""

from hashlib import sha256
from typing import Any

from sandbox.fake_provider.jobs import Job
from sandbox.fake_provider.media import FRAMES_PER_SECOND, MediaRenderer
from sandbox.fake_provider.outcomes import CannedResponse, Outcome
from sandbox.fake_provider.specs import VideoSpec, file_name
from sandbox.fal.models import makes_images
from sandbox.fal.responses import CANCELLED


async def result_response(job: Job, renderer: MediaRenderer) -> CannedResponse:
    if failure := failure_response(job):
        return failure
    if job.scenario.outcome is Outcome.RESULT_ODD:
        return CannedResponse(
            200, {"film": {"href": job.file_url()}}, {"X-Fal-Billable-Units": "1"}
        )
    body = await (_images_result if makes_images(job.model) else _video_result)(job, renderer)
    return CannedResponse(200, body, {"X-Fal-Billable-Units": str(len(job.specs))})


def failure_response(job: Job) -> CannedResponse | None:
    return CANCELLED if job.cancelled is not None else job.failure


async def _video_result(job: Job, renderer: MediaRenderer) -> dict[str, Any]:
    (spec,) = job.specs
    assert isinstance(spec, VideoSpec)  # noqa: S101 (for the type checker)
    name = file_name(0, spec)
    body: dict[str, Any] = {
        "video": {
            "url": job.file_url(),
            "content_type": "video/mp4",
            "file_name": name,
            "file_size": len(await renderer.render(spec)),
            "width": spec.width,
            "height": spec.height,
            "fps": float(FRAMES_PER_SECOND),
            "duration": float(spec.seconds),
            "num_frames": spec.seconds * FRAMES_PER_SECOND,
        }
    }
    if "sora" in job.model:
        body["video_id"] = f"video_{job.request_id.replace('-', '')}"
    return body


async def _images_result(job: Job, renderer: MediaRenderer) -> dict[str, Any]:
    given = job.input.get("seed")
    outcome = job.scenario.outcome
    specs = job.specs[:-1] if outcome is Outcome.IMAGES_MISSING else job.specs
    seed = given if type(given) is int else int(sha256(job.request_id.encode()).hexdigest()[:8], 16)
    return {
        "images": [
            {
                "url": job.file_url(number),
                "width": spec.width,
                "height": spec.height,
                "content_type": "image/jpeg",
            }
            for number, spec in enumerate(specs)
        ],
        "has_nsfw_concepts": [
            outcome is Outcome.IMAGES_FLAGGED and number == 0 for number in range(len(specs))
        ],
        "seed": seed,
        "prompt": job.input["prompt"],
    }
