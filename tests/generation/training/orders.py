"""Sets of images and trainings of them."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID, uuid4

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone
from PIL import Image

from generation.catalogue import cache as catalogue
from generation.models import (
    GenerationModel,
    Job,
    ProviderRoute,
    TrainedModel,
    TrainingPicture,
    TrainingSet,
)
from generation.training.consent_text import TEXT_VERSION
from tests.helpers import pictures
from tests.helpers.job_driver import JobDriver
from tests.helpers.phone import Phone
from tests.helpers.sandbox_control import Sandbox

TRAINERS_AT = ("fal", "replicate")
CONSENT = {"accepted": True, "text_version": TEXT_VERSION}


def want_captions(provider: str) -> None:
    """Let the trainers at this provider get a caption beside each image."""
    for route in ProviderRoute.objects.filter(model__kind="training", provider=provider):
        route.training["captions"] = True
        route.save(update_fields=["training"])
    catalogue.invalidate()


def stop_selling(kind: str) -> None:
    GenerationModel.objects.filter(kind="training", category=kind).update(is_available=False)
    catalogue.invalidate()


@cache
def _image(number: int) -> bytes:
    colour = (number * 20 % 256, 80, 160)
    return pictures.saved(Image.new("RGB", (512, 512), colour), "JPEG")


def make_set(phone: Phone, *, count: int = 10, problems: dict[int, list[str]] | None = None) -> str:
    """A set with so many images, of which some have problems, by number."""
    assert phone.user_id
    training_set = TrainingSet.objects.create(
        user_id=phone.user_id, expires_at=timezone.now() + timedelta(hours=24)
    )
    for number in range(1, count + 1):
        content = _image(number)
        picture = TrainingPicture.objects.create(
            set=training_set,
            position=number,
            width=512,
            height=512,
            size_bytes=len(content),
            problems=(problems or {}).get(number, []),
        )
        default_storage.save(picture.name, ContentFile(content))
    return str(training_set.id)


def start(phone: Phone, *, key: str | None = None, **changes: Any) -> Any:
    """The answer to train/start."""
    body = {"name": "Ada", "kind": "person", "steps": 600, "consent": CONSENT} | changes
    if "set_id" not in body:
        body["set_id"] = make_set(phone)
    return phone.post("train/start", body, Idempotency_Key=key or str(uuid4()))


def started(phone: Phone, **changes: Any) -> Job:
    """A training that was just paid."""
    answer = start(phone, **changes)
    assert answer.status_code == 200, answer.content
    return Job.objects.get(id=answer.json()["training_id"])


def completed_or_running(
    phone: Phone, life: JobDriver, sandbox: Sandbox, *, set_id: str, is_running: bool
) -> Job:
    """A training of this set: completed, or at a provider for another hour."""
    if is_running:
        for provider in TRAINERS_AT:
            sandbox.provider(provider=provider, run_seconds=3600)
    job = started(phone, set_id=set_id)
    if is_running:
        life.submit()
    else:
        life.run_until_done(job)
    return job


def only_trained_by(provider: str) -> None:
    ProviderRoute.objects.filter(model__kind="training").exclude(provider=provider).update(
        is_enabled=False
    )
    catalogue.invalidate()


def trained_by(job: Job) -> TrainedModel:
    return TrainedModel.objects.get(job=job)


def own_training(phone: Phone, job_id: UUID) -> dict[str, Any]:
    answer = phone.get(f"train/{job_id}")
    assert answer.status_code == 200, answer.content
    body: dict[str, Any] = answer.json()
    return body
