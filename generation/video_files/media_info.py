"""What a file turned out to be."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


class UnusableFile(Exception):
    """Not a film or picture that anybody could show, and nothing that could be made one."""


@dataclass(frozen=True)
class VideoInfo:
    codec: str  # FFmpeg's canonical name
    tag: str  # the four letters that its container calls it by
    pixel_format: str  # FFmpeg's pixel format, such as yuv420p
    width: int
    height: int
    # In the container's head, as hvc1 and avc1 have to have them, and not only among the frames.
    has_parameter_sets: bool


@dataclass(frozen=True)
class MediaInfo:
    """Of a film, or of a picture, which has no `video`."""

    container: str  # "mp4", "mov", "matroska", or "image"
    video: VideoInfo | None = None
    audio_codec: str = ""  # the codec; "" where there is none
    # Names of JPEGs in the folder that was given: one to show it by, and some to judge it by.
    thumbnail: str = ""
    frames: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> MediaInfo:
        video = data.pop("video")
        return cls(**data, video=VideoInfo(**video) if video else None)
