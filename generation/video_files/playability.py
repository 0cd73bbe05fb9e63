"""Which videos iPhones play and can be marked, and the conversion that any other video needs.

Apple devices decode H.264 up to High Profile and HEVC up to Main 10
(https://developer.apple.com/documentation/http_live_streaming/hls_authoring_specification_for_apple_devices,
1.1 to 1.6): 4:2:0 only, with 8 bits a sample in H.264. AVFoundation opens HEVC with the tag hvc1,
not hev1. Newer iPhones decode AV1, older ones in use do not. No iPhone opens VP9 or Opus in an MP4.
"""

from __future__ import annotations

from enum import Enum

from generation.video_files.media_info import MediaInfo, SupplierMark, VideoInfo

PIXEL_FORMATS = {
    "h264": {"yuv420p", "yuvj420p"},
    "hevc": {"yuv420p", "yuvj420p", "yuv420p10le"},
}
TAGS = {"h264": "avc1", "hevc": "hvc1"}
# Tags of the same codecs that also allow parameter sets among the frames.
TAG_REPLACEMENTS = {b"hev1": b"hvc1", b"avc3": b"avc1"}
AUDIO_CODECS = {"", "aac", "alac", "mp3", "ac3", "eac3"}
# The limit of H.264 level 5.2 and HEVC level 5.2 is near 4096x2304.
MAX_PIXELS = 4096 * 2304


class RequiredChange(Enum):
    """The change that makes a video playable and markable."""

    NONE = "none"
    RETAG = "retag"  # change the four-character code in the header
    CONVERT = "convert"  # convert the streams that do not play


def required_change(info: MediaInfo) -> RequiredChange:
    """Return the required change. NONE for an image, which the probe prepares."""
    video = info.video
    if video is None:
        return RequiredChange.NONE
    if (
        info.container != "mp4"
        or not is_video_playable(video)
        or not is_audio_playable(info.audio_codec)
        or (info.supplier_mark == SupplierMark.NONE and not info.can_append_mark)
    ):
        return RequiredChange.CONVERT
    if video.tag == TAGS[video.codec]:
        return RequiredChange.NONE
    can_retag = (
        video.tag.encode() in TAG_REPLACEMENTS and info.supplier_mark != SupplierMark.CREDENTIALS
    )
    return RequiredChange.RETAG if can_retag else RequiredChange.CONVERT


def is_video_playable(video: VideoInfo) -> bool:
    """Whether the video stream can be copied unchanged."""
    return (
        video.pixel_format in PIXEL_FORMATS.get(video.codec, ())
        and video.has_parameter_sets
        and video.width * video.height <= MAX_PIXELS
    )


def is_audio_playable(codec: str) -> bool:
    return codec in AUDIO_CODECS
