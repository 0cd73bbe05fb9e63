"""Properties of a probed file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class UnusableFile(Exception):
    """The file cannot be shown, and not be converted to one that can."""


class SourceType(StrEnum):
    """IPTC's digital source types of what models make."""

    GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    # A user's image, changed.
    EDITED = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


class SupplierMark(StrEnum):
    """How a provider's file itself says that AI made it."""

    NONE = "none"
    XMP = "xmp"
    # Content Credentials (C2PA), valid: a change of any byte would break them.
    CREDENTIALS = "credentials"


@dataclass(frozen=True)
class VideoInfo:
    codec: str  # FFmpeg's canonical codec name
    tag: str  # the four-character code in the container
    pixel_format: str  # FFmpeg's name, such as yuv420p
    width: int
    height: int
    # Whether the container's header has the parameter sets, as hvc1 and avc1 require.
    has_parameter_sets: bool


@dataclass(frozen=True)
class MediaInfo:
    """Properties of a video, or of an image, which has no `video`."""

    container: str  # "mp4", "mov", "matroska", or "image"
    video: VideoInfo | None = None
    audio_codec: str = ""  # "" without an audio stream
    source_type: SourceType = SourceType.GENERATED
    supplier_mark: SupplierMark = SupplierMark.NONE
    # Whether our mark can be appended to the video.
    can_append_mark: bool = True
    # Names of files in the given folder: an image as it is to be stored, the thumbnail, and frames
    # for moderation. The last two are JPEGs.
    image: str = ""
    thumbnail: str = ""
    frames: list[str] = field(default_factory=list)
    # Of an image, upright.
    width: int = 0
    height: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> MediaInfo:
        video = data["video"]
        typed = {
            "source_type": SourceType(data["source_type"]),
            "supplier_mark": SupplierMark(data["supplier_mark"]),
            "video": VideoInfo(**video) if video else None,
        }
        return cls(**data | typed)
