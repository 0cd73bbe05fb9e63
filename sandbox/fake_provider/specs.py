"""What a job makes: small pictures and films of a few seconds."""

from dataclasses import dataclass

SHORT_SIDE = 180
"""Pixels, of everything drawn here: the prompt can be read, and twenty at once are cheap."""


@dataclass(frozen=True)
class VideoSpec:
    prompt: str
    seconds: int
    width: int
    height: int
    encoder: str = "libx264"


@dataclass(frozen=True)
class ImageSpec:
    prompt: str
    width: int
    height: int
    number: int
    """Which of the images of one request: each looks different."""


Spec = VideoSpec | ImageSpec


def file_name(number: int, spec: Spec) -> str:
    return "output.mp4" if isinstance(spec, VideoSpec) else f"image-{number}.jpg"


def size_for_ratio(ratio: tuple[int, int]) -> tuple[int, int]:
    """Pixels; even, because the video's colours are stored for two by two pixels."""
    scale = SHORT_SIDE / min(ratio)
    width, height = (round(side * scale / 2) * 2 for side in ratio)
    return width, height
