"""The result of a finished job, as the result endpoint and the webhook return it."""

import io
from hashlib import sha256
from typing import Any

from PIL import Image

from sandbox.fake_provider.downloads import UnusableSource
from sandbox.fake_provider.jobs import Job
from sandbox.fake_provider.media import FRAMES_PER_SECOND, MediaRenderer
from sandbox.fake_provider.outcomes import CannedResponse, Outcome
from sandbox.fake_provider.specs import (
    ImageSpec,
    Spec,
    VideoSpec,
    WeightsSpec,
    file_name,
    media_type,
)
from sandbox.fal.models import TRAINERS, makes_images, returns_single_image
from sandbox.fal.responses import CANCELLED, source_not_downloaded


async def result_response(job: Job, renderer: MediaRenderer) -> CannedResponse:
    if failure := failure_response(job):
        return failure
    if job.scenario.outcome is Outcome.RESULT_ODD:
        return CannedResponse(
            200, {"film": {"href": job.file_url()}}, {"X-Fal-Billable-Units": "1"}
        )
    try:
        body = await _result(job, renderer)
    except UnusableSource as error:
        return source_not_downloaded(str(error))
    # A training is billed by steps.
    first = job.specs[0]
    units = first.steps if isinstance(first, WeightsSpec) else len(job.specs)
    return CannedResponse(200, body, {"X-Fal-Billable-Units": str(units)})


def failure_response(job: Job) -> CannedResponse | None:
    return CANCELLED if job.cancelled is not None else job.failure


async def _result(job: Job, renderer: MediaRenderer) -> dict[str, Any]:
    if job.model in TRAINERS:
        return await _weights_result(job, renderer)
    if makes_images(job.model):
        return await _images_result(job, renderer)
    return await _video_result(job, renderer)


async def _weights_result(job: Job, renderer: MediaRenderer) -> dict[str, Any]:
    files = [
        {
            "url": job.file_url(number),
            "content_type": media_type(spec),
            "file_name": file_name(number, spec),
            "file_size": len(await renderer.render(spec)),
        }
        for number, spec in enumerate(job.specs)
    ]
    return dict(zip(("diffusers_lora_file", "config_file"), files, strict=True))


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
    images = [
        {
            "url": job.file_url(number),
            **dict(zip(("width", "height"), await _size(spec, renderer), strict=True)),
            "content_type": "image/jpeg",
        }
        for number, spec in enumerate(specs)
    ]
    if returns_single_image(job.model):
        return {"image": images[0] if images else None, "seed": seed}
    return {
        "images": images,
        "has_nsfw_concepts": [
            outcome is Outcome.IMAGES_FLAGGED and number == 0 for number in range(len(specs))
        ],
        "seed": seed,
        "prompt": job.input["prompt"],
    }


async def _size(spec: Spec, renderer: MediaRenderer) -> tuple[int, int]:
    if isinstance(spec, ImageSpec) and not spec.weights_url:
        return spec.width, spec.height
    return Image.open(io.BytesIO(await renderer.render(spec))).size
