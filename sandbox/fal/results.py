"""What the result endpoint answers for a job that has ended, and its webhook carries."""

from hashlib import sha256
from typing import Any

from sandbox.fake_provider.jobs import Job
from sandbox.fake_provider.media import FRAMES_PER_SECOND, Studio
from sandbox.fake_provider.outcomes import Answer, Outcome
from sandbox.fake_provider.specs import VideoSpec, file_name
from sandbox.fal.answers import CANCELLED
from sandbox.fal.models import makes_images


async def answer_of(job: Job, studio: Studio) -> Answer:
    if failure := failure_of(job):
        return failure
    if job.plan.outcome is Outcome.RESULT_ODD:
        return Answer(200, {"film": {"href": job.file_url()}}, {"X-Fal-Billable-Units": "1"})
    body = await (_images if makes_images(job.model) else _video)(job, studio)
    return Answer(200, body, {"X-Fal-Billable-Units": str(len(job.specs))})


def failure_of(job: Job) -> Answer | None:
    return CANCELLED if job.cancelled is not None else job.failure


async def _video(job: Job, studio: Studio) -> dict[str, Any]:
    (spec,) = job.specs
    assert isinstance(spec, VideoSpec)  # noqa: S101 (for the type checker)
    name = file_name(0, spec)
    body: dict[str, Any] = {
        "video": {
            "url": job.file_url(),
            "content_type": "video/mp4",
            "file_name": name,
            "file_size": len(await studio.make(spec)),
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


async def _images(job: Job, studio: Studio) -> dict[str, Any]:
    given = job.input.get("seed")
    seed = given if type(given) is int else int(sha256(job.request_id.encode()).hexdigest()[:8], 16)
    return {
        "images": [
            {
                "url": job.file_url(number),
                "width": spec.width,
                "height": spec.height,
                "content_type": "image/jpeg",
            }
            for number, spec in enumerate(job.specs)
        ],
        "seed": seed,
        "prompt": job.input["prompt"],
    }
