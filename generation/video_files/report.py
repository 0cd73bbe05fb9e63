"""What a file turned out to be."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


class Unusable(Exception):
    """Not a film or picture that anybody could show, and nothing that could be made one."""


@dataclass(frozen=True)
class Video:
    codec: str  # FFmpeg's canonical name
    tag: str  # the four letters that its container calls it by
    pixels: str  # FFmpeg's pixel format, such as yuv420p
    width: int
    height: int
    # In the container's head, as hvc1 and avc1 have to have them, and not only among the frames.
    has_parameter_sets: bool


@dataclass(frozen=True)
class Report:
    """Of a film, or of a picture, which has no `video`."""

    container: str  # "mp4", "mov", "matroska", or "image"
    video: Video | None = None
    sound: str = ""  # the codec; "" where there is none
    # Names of JPEGs in the folder that was given: one to show it by, and some to judge it by.
    thumbnail: str = ""
    pictures: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Report:
        video = said.pop("video")
        return cls(**said, video=Video(**video) if video else None)
