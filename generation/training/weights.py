"""The weights of a trained model: a safetensors file, as it came or within a tar.

The format is documented at https://huggingface.co/docs/safetensors: eight bytes with the length of
a JSON object, the object with the place of each tensor, and the tensors. Only the JSON is read.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generation.models import Job, ProviderRequest, ProviderRoute, TrainedModel
from generation.video_files.media_info import UnusableFile

FILE_NAME = "weights.safetensors"
# Bytes. A LoRA's has some hundred kilobytes.
MAX_HEADER = 10_000_000
# Members of a tar that are looked at.
MAX_MEMBERS = 1000


@dataclass(frozen=True)
class StoredWeights:
    """The name in our storage. `provider_model` is the provider's name of its copy, "" if it keeps
    none; `provider_request_id` names the submission that made the weights."""

    weights_name: str
    size_bytes: int
    provider: str
    provider_request_id: str
    provider_model: str


def unpack(path: Path, folder: Path, *, max_bytes: int) -> Path:
    """The safetensors file: `path` itself, or the only one in a tar, written to `folder`.

    A compressed tar is none: one megabyte could be a gigabyte before its first file. Raises
    UnusableFile.
    """
    try:
        archive = tarfile.open(path, "r:")  # noqa: SIM115
    except tarfile.TarError:
        return path
    target = folder / FILE_NAME
    try:
        with archive:
            for number, member in enumerate(archive):
                if number >= MAX_MEMBERS:
                    break
                if not (member.isfile() and member.name.endswith(".safetensors")):
                    continue
                if member.size > max_bytes:
                    raise UnusableFile("the weights are too large")
                source = archive.extractfile(member)
                if source is None:
                    continue
                with source, target.open("wb") as into:
                    shutil.copyfileobj(source, into)
                return target
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UnusableFile(f"a broken tar: {type(error).__name__}") from error
    raise UnusableFile("no safetensors file in the tar")


def check(path: Path) -> int:
    """The size in bytes of a complete safetensors file. Raises UnusableFile."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(MAX_HEADER, size - 8):
            raise UnusableFile("not a safetensors file")
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise UnusableFile("a safetensors file with a broken header") from error
    if not isinstance(header, dict):
        raise UnusableFile("a safetensors file with a broken header")
    ends = [_end_of(tensor) for name, tensor in header.items() if name != "__metadata__"]
    if not ends or max(ends) != size - 8 - length:
        raise UnusableFile("a safetensors file of another length than its header says")
    return size


def _end_of(tensor: Any) -> int:
    try:
        end = tensor["data_offsets"][1]
    except (TypeError, KeyError, IndexError) as error:
        raise UnusableFile("a safetensors file with a broken header") from error
    return end if type(end) is int else -1


def record(job: Job, weights: StoredWeights) -> None:
    """Store where the weights of a training are. Joins the transaction that ends the job."""
    request = ProviderRequest.objects.filter(
        job=job, provider=weights.provider, provider_request_id=weights.provider_request_id
    ).first()
    route = ProviderRoute.objects.filter(id=request.route_id).first() if request else None
    TrainedModel.objects.filter(job=job).update(
        weights_name=weights.weights_name,
        weights_size_bytes=weights.size_bytes,
        provider=weights.provider,
        provider_model=weights.provider_model,
        base_family=route.training.get("base_family", "") if route else "",
    )
