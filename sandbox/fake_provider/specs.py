"""Specifications of results: images, and small videos of a few seconds."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEFAULT_SECONDS = 5
SHORT_SIDE = 180
"""Pixels of the short side: the prompt is readable, and twenty renders at once are cheap."""


@dataclass(frozen=True)
class VideoSpec:
    prompt: str
    seconds: int
    width: int
    height: int
    encoder: str = "libx264"
    first_url: str = ""
    last_url: str = ""
    """The first and the last frame, if the customer sent them."""


@dataclass(frozen=True)
class ImageSpec:
    prompt: str
    width: int
    height: int
    number: int = 0
    """Index of the image in its request. Each image looks different."""
    weights_url: str = ""
    """Weights that a user trained. If given, they must be for `base_family`."""
    base_family: str = ""


@dataclass(frozen=True)
class EditSpec:
    """An image that is made from a customer's image, in its size."""

    prompt: str
    image_url: str
    mask_url: str = ""
    """If given, only a part of the image changes."""
    mask_changes: str = "white"
    """The part of the mask where the image changes: white, black or transparent."""
    ratio: tuple[int, int] | None = None
    """If given, the image is cropped to it."""
    size: tuple[int, int] | None = None
    """In pixels. If given, the image is cropped and scaled to it."""
    short_side: int = 0
    """In pixels. If given, the image is enlarged to it, and nothing else changes."""
    number: int = 0


@dataclass(frozen=True)
class WeightsSpec:
    """The weights that a training of a zip with pictures makes."""

    zip_url: str
    trigger_word: str
    steps: int
    base_family: str
    min_pictures: int = 1
    needs_caption: bool = False
    """Whether each picture needs a caption file, unless there is a `default_caption`."""
    default_caption: str = ""
    is_tar: bool = False
    """Whether the weights are in a tar, which is downloaded with the API key."""
    is_without_weights: bool = False
    """Whether the tar lacks them."""


@dataclass(frozen=True)
class ConfigSpec:
    """The file beside the weights, with what they were trained with."""

    trigger_word: str
    steps: int


Spec = VideoSpec | ImageSpec | EditSpec | WeightsSpec | ConfigSpec


def file_name(number: int, spec: Spec) -> str:
    if isinstance(spec, ConfigSpec):
        return "config.json"
    if isinstance(spec, WeightsSpec):
        return "trained_model.tar" if spec.is_tar else "pytorch_lora_weights.safetensors"
    return "output.mp4" if isinstance(spec, VideoSpec) else f"image-{number}.jpg"


def media_type(spec: Spec) -> str:
    match spec:
        case VideoSpec():
            return "video/mp4"
        case WeightsSpec():
            return "application/x-tar" if spec.is_tar else "application/octet-stream"
        case ConfigSpec():
            return "application/json"
    return "image/jpeg"


def size_for_ratio(ratio: tuple[int, int]) -> tuple[int, int]:
    """Return width and height in pixels. Even, because the video format stores one colour for 2x2
    pixels."""
    scale = SHORT_SIDE / min(ratio)
    width, height = (round(side * scale / 2) * 2 for side in ratio)
    return width, height


def parse_video_spec(arguments: Mapping[str, Any]) -> VideoSpec | None:
    """Parse `prompt`, `duration` in seconds and `aspect_ratio`. None if one of them is invalid."""
    prompt, seconds = arguments.get("prompt"), arguments.get("duration", DEFAULT_SECONDS)
    ratio = re.fullmatch(r"(\d{1,2}):(\d{1,2})", str(arguments.get("aspect_ratio", "16:9")))
    if not (isinstance(prompt, str) and type(seconds) is int and 1 <= seconds <= 60 and ratio):
        return None
    width, height = size_for_ratio((int(ratio[1]), int(ratio[2])))
    return VideoSpec(prompt, seconds, width, height)
