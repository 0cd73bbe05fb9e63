"""Zips of pictures, as trainers get them, and the weights that they answer with."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone
from PIL import Image

from generation.models import GenerationModel, Job, ModelKind, TrainedModel, TrainingKind
from tests.helpers.job_driver import StubServer
from tests.helpers.pictures import saved


def zip_of(count: int, *, captions: int = 0) -> bytes:
    """So many pictures of one colour each, the first ones with a caption."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(1, count + 1):
            picture = Image.new("RGB", (512, 512), (number * 10 % 256, 80, 160))
            archive.writestr(f"{number:03}.jpg", saved(picture, "JPEG"))
            if number <= captions:
                archive.writestr(f"{number:03}.txt", "a photo of ohwx")
    return buffer.getvalue()


@contextmanager
def served(content: bytes) -> Iterator[str]:
    """The address of a file with this content."""
    server = StubServer()
    server.otherwise = (200, {}, content)
    yield f"{server.url}/file"
    server.close()


def metadata_of(content: bytes) -> dict[str, str]:
    """What weights say about themselves, after a look at their layout."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    metadata: dict[str, str] = header.pop("__metadata__")
    at = 0
    for tensor in header.values():
        start, end = tensor["data_offsets"]
        rows, columns = tensor["shape"]
        assert (tensor["dtype"], start, end) == ("F32", at, at + 4 * rows * columns)
        at = end
    assert 8 + length + at == len(content)
    return metadata


def untarred(content: bytes) -> bytes:
    """The weights in the archive of Replicate's trainer."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        member = archive.extractfile("output/flux_train_replicate/lora.safetensors")
        assert member
        return member.read()


def weights_of(trigger_word: str, base_family: str = "flux-1-dev", colour: str = "00c800") -> bytes:
    """A file that the sandbox's image models load: its frames have the colour."""
    metadata = {"base_family": base_family, "trigger_word": trigger_word, "colour": colour}
    tensor = {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}
    header = json.dumps({"__metadata__": metadata, "lora": tensor}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4)


def trained_model(user_id: UUID, *, is_trained: bool = True, **fields: Any) -> TrainedModel:
    """A model that the user has trained, its weights stored. `is_trained`: its training is over."""
    trainer = GenerationModel.objects.get(kind=ModelKind.TRAINING, category="object")
    ended = {"status": "completed", "stage": "done", "progress": 100}
    waiting = {"due_at": timezone.now(), "deadline_at": timezone.now()}
    job = Job.objects.create(
        user_id=user_id,
        model=trainer,
        settings={"steps": 600},
        credits=25,
        price_usd="2.50",
        queue="low",
        is_training=True,
        **ended if is_trained else waiting,
    )
    trained = TrainedModel(
        **{
            "user_id": user_id,
            "job": job,
            "name": "My cup",
            "kind": TrainingKind.OBJECT,
            "trigger_word": "zqcup",
            "base_family": "flux-1-dev",
        }
        | fields
    )
    if is_trained:
        content = ContentFile(weights_of(trained.trigger_word, trained.base_family))
        trained.weights_name = default_storage.save(f"{job.id}/weights.safetensors", content)
    trained.save()
    return trained
