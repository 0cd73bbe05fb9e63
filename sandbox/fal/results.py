"""What the result endpoint answers for a job that has ended, and its webhook carries."""

from hashlib import sha256
from typing import Any

from sandbox.fal.jobs import Job
from sandbox.fal.media import FRAMES_PER_SECOND, Studio
from sandbox.fal.models import Spec, VideoSpec, makes_images
from sandbox.fal.outcomes import CANCELLED, Answer


async def answer_of(job: Job, studio: Studio) -> Answer:
    if failure := failure_of(job):
        return failure
    body = await (_images if makes_images(job.model) else _video)(job, studio)
    return Answer(200, body, {"X-Fal-Billable-Units": str(len(job.specs))})


def failure_of(job: Job) -> Answer | None:
    return CANCELLED if job.cancelled is not None else job.failure


def file_name(number: int, spec: Spec) -> str:
    return "output.mp4" if isinstance(spec, VideoSpec) else f"image-{number}.jpg"


def _url(job: Job, name: str) -> str:
    return f"{job.media_base}/fal/files/{job.request_id}/{name}"


async def _video(job: Job, studio: Studio) -> dict[str, Any]:
    (spec,) = job.specs
    assert isinstance(spec, VideoSpec)  # noqa: S101 (for the type checker)
    name = file_name(0, spec)
    body: dict[str, Any] = {
        "video": {
            "url": _url(job, name),
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
                "url": _url(job, file_name(number, spec)),
                "width": spec.width,
                "height": spec.height,
                "content_type": "image/jpeg",
            }
            for number, spec in enumerate(job.specs)
        ],
        "seed": seed,
        "prompt": job.input["prompt"],
    }
