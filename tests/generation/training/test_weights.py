"""Files that claim to be weights: what is kept is a complete safetensors file, whatever came."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile

import pytest

from generation.training import weights
from generation.video_files.media_info import UnusableFile

MAX_BYTES = 100_000


def safetensors(header, data=b"\0" * 8, *, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(end=8):
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, end]}


GOOD = safetensors({"__metadata__": {"a": "b"}, "lora": tensor()})


def tar_of(*members, link=""):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo("lora.safetensors")
            info.type, info.linkname = tarfile.SYMTYPE, link
            archive.addfile(info)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        tar_of(("a/caption.txt", b"text"), ("../../lora.safetensors", GOOD)),
    ],
    ids=["as it is", "in a tar"],
)
def test_weights_are_found_as_they_are(tmp_path, content):
    path = tmp_path / "media"
    path.write_bytes(content)

    found = weights.unpack(path, tmp_path, max_bytes=MAX_BYTES)

    assert weights.check(found) == len(GOOD)
    assert found.read_bytes() == GOOD
    assert found.parent == tmp_path


BAD = {
    "empty": b"",
    "a page": b"<!doctype html><p>Not found</p>",
    "a header beyond the file": safetensors({}, length=2**40),
    "a header of no JSON": safetensors(b"\xff" * 40),
    "a header too deep": safetensors(b'{"a":' + b"[" * 50_000),
    "a header that is a list": safetensors([tensor()]),
    "no tensor": safetensors({"__metadata__": {}}, b""),
    "a tensor of no place": safetensors({"lora": {"dtype": "F32"}}),
    "a place of no number": safetensors({"lora": tensor("8")}),
    "cut off": GOOD[:-1],
    "something behind": GOOD + b"\0",
    "a tar without weights": tar_of(("a.txt", b"text")),
    "a tar that is compressed": gzip.compress(tar_of(("lora.safetensors", GOOD))),
    "a tar with a link": tar_of(link="/etc/passwd"),
    "a tar cut off": tar_of(("lora.safetensors", GOOD + b"\0" * 5000))[:2048],
    "a tar that grows": tar_of(("lora.safetensors", b"\0" * (MAX_BYTES + 1))),
}


@pytest.mark.parametrize("name", BAD)
def test_anything_else_is_refused(tmp_path, name):
    path = tmp_path / "media"
    path.write_bytes(BAD[name])

    with pytest.raises(UnusableFile):
        weights.check(weights.unpack(path, tmp_path, max_bytes=MAX_BYTES))
