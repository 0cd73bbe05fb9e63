"""Trainings: a zip of pictures becomes weights, a small but valid `.safetensors` file, and images
show whether the weights were used."""

import io
import json
import struct
import tarfile
import zipfile
from hashlib import sha256

from PIL import Image, ImageDraw

from sandbox.fake_provider.downloads import UnusableSource, fetch_bytes
from sandbox.fake_provider.specs import ImageSpec, WeightsSpec

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
# Floats of each of the two matrices.
RANK, WIDTH = 4, 64
TAR_WEIGHTS_NAME = "output/flux_train_replicate/lora.safetensors"
# Of an image's short side. The frame that an image has if weights were used.
FRAME_SHARE = 12


def train(spec: WeightsSpec) -> bytes:
    """The file of the result. Raises UnusableSource for a zip that cannot be trained on."""
    pictures, captions = _open_zip(fetch_bytes(spec.zip_url))
    if len(pictures) < spec.min_pictures:
        raise UnusableSource(f"{len(pictures)} pictures; at least {spec.min_pictures} are needed")
    if spec.needs_caption and not spec.default_caption and set(captions) < set(pictures):
        raise UnusableSource("no default_caption, and a picture without a caption")
    weights = _safetensors(spec, sha256(b"".join(pictures.values())).digest())
    return _tar(weights, spec, captions) if spec.is_tar else weights


def _open_zip(content: bytes) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Pictures and captions by their names without a suffix."""
    pictures, captions = {}, {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                stem, _, suffix = name.rpartition(".")
                if f".{suffix.lower()}" in PICTURE_SUFFIXES:
                    pictures[stem] = archive.read(name)
                    Image.open(io.BytesIO(pictures[stem])).verify()
                elif suffix == "txt":
                    captions[stem] = archive.read(name)
    except (zipfile.BadZipFile, OSError, SyntaxError) as error:
        raise UnusableSource(f"not a zip of pictures: {error}") from error
    return pictures, captions


def _safetensors(spec: WeightsSpec, digest: bytes) -> bytes:
    """Two matrices of 32-bit floats. The layout (https://huggingface.co/docs/safetensors): eight
    bytes of length, a header of JSON, the data."""
    size = RANK * WIDTH * 4
    header = json.dumps(
        {
            "__metadata__": {
                "base_family": spec.base_family,
                "trigger_word": spec.trigger_word,
                "steps": str(spec.steps),
                "colour": digest[:3].hex(),
            },
            "transformer.lora_A.weight": _tensor([RANK, WIDTH], 0, size),
            "transformer.lora_B.weight": _tensor([WIDTH, RANK], size, 2 * size),
        }
    ).encode()
    data = struct.pack("<f", digest[0] / 255) * (2 * size // 4)
    return struct.pack("<Q", len(header)) + header + data


def _tensor(shape: list[int], start: int, end: int) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


def _tar(weights: bytes, spec: WeightsSpec, captions: dict[str, bytes]) -> bytes:
    files = {f"output/flux_train_replicate/{stem}.txt": text for stem, text in captions.items()}
    if not spec.is_without_weights:
        files[TAR_WEIGHTS_NAME] = weights
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def frame(image: Image.Image, spec: ImageSpec) -> Image.Image:
    """The image with a frame in the colour of the weights, if the prompt has their trigger word.

    Raises UnusableSource for weights that this model cannot load.
    """
    metadata = _read_metadata(fetch_bytes(spec.weights_url))
    if metadata.get("base_family") != spec.base_family:
        raise UnusableSource(f"weights for {metadata.get('base_family')}, not {spec.base_family}")
    if metadata["trigger_word"] in spec.prompt:
        colour = "#" + metadata["colour"]
        width = min(image.size) // FRAME_SHARE
        ImageDraw.Draw(image).rectangle((0, 0, *image.size), outline=colour, width=width)
    return image


def _read_metadata(content: bytes) -> dict[str, str]:
    try:
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        metadata: dict[str, str] = header.pop("__metadata__")
        ends = [tensor["data_offsets"][1] for tensor in header.values()]
    except (struct.error, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UnusableSource("not a safetensors file") from error
    if not ends or 8 + length + max(ends) != len(content):
        raise UnusableSource("a safetensors file of another length than it says")
    return metadata
