"""Zips of pictures, as trainers get them, and the weights that they answer with."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

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
