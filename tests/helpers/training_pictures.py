"""Images as they are sent for a training: drawn, each unlike the others, and their faults."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image, ImageDraw, ImageFilter

from generation.models import Job, TrainedModel, TrainingConsent, TrainingSet
from rendio.local.training_images import draw_image
from tests.helpers.pictures import saved

SIZE = (576, 544)
SKIN, HAIR = (224, 172, 140), (60, 40, 30)


def scene(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    return draw_image(seed, size)


def portrait(seed: int, *, faces: int = 1) -> Image.Image:
    """A scene with drawn faces, which the detector takes for real ones."""
    picture = scene(seed)
    for number in range(faces):
        picture.paste(face(), (30 + 260 * number, 40 + 20 * (seed % 8)))
    return picture


@cache
def face(side: int = 240) -> Image.Image:
    size = 4 * side
    picture = Image.new("RGB", (size, size), (90, 120, 150))
    draw = ImageDraw.Draw(picture)

    def oval(x: float, y: float, width: float, height: float, colour: tuple[int, int, int]) -> None:
        edges = (x - width, y - height, x + width, y + height)
        draw.ellipse([edge * size for edge in edges], fill=colour)

    oval(0.5, 0.42, 0.36, 0.42, HAIR)
    oval(0.5, 0.5, 0.29, 0.38, SKIN)
    for x in (0.38, 0.62):
        oval(x, 0.44, 0.065, 0.032, (245, 240, 235))
        oval(x, 0.44, 0.03, 0.03, (70, 50, 30))
        oval(x, 0.44, 0.014, 0.014, (10, 10, 10))
        brow = ((x - 0.085) * size, 0.36 * size, (x + 0.085) * size, 0.46 * size)
        draw.arc(brow, 200, 340, fill=HAIR, width=size // 55)
    nose = [(0.5, 0.45), (0.455, 0.6), (0.545, 0.6)]
    draw.polygon([(x * size, y * size) for x, y in nose], fill=(197, 151, 123))
    oval(0.5, 0.72, 0.1, 0.03, (180, 70, 70))
    return picture.resize((side, side), Image.Resampling.LANCZOS)


def jpeg(picture: Image.Image) -> bytes:
    return saved(picture, "JPEG", quality=90)


def portraits(count: int) -> list[bytes]:
    return [_portrait_jpeg(seed) for seed in range(count)]


@cache
def _portrait_jpeg(seed: int) -> bytes:
    return jpeg(portrait(seed))


def blurred(picture: Image.Image) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(3))


def upload(phone: Any, contents: Sequence[bytes], **fields: str) -> Any:
    """Send images as IMG_00.jpg, IMG_01.jpg …; `phone` is anything with a client and a session."""
    files = [
        SimpleUploadedFile(f"IMG_{number:02}.jpg", content, "image/jpeg")
        for number, content in enumerate(contents)
    ]
    return phone.client.post(
        "/v1/train/upload", {"files": files, **fields}, headers=phone._headers()
    )


def record_training(job: Job) -> TrainedModel:
    """The rows of a model of a person, as if the job had trained it."""
    consent = TrainingConsent.objects.create(
        user=job.user,
        given_at=job.created_at,
        text_version="2026-11",
        language="tr",
        subject_name="Zoe of the sea",
    )
    training_set = TrainingSet.objects.create(user=job.user, expires_at=job.created_at)
    return TrainedModel.objects.create(
        user=job.user,
        job=job,
        name="Zoe in summer",
        kind="person",
        consent=consent,
        training_set=training_set,
    )
