"""Reading a video or image completely, and making images of it.

Runs in the process of `__main__`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream
from PIL import Image, ImageOps

from generation.images import TooManyPixels, flatten, is_transparent, open_image
from generation.video_files import ai_mark
from generation.video_files.media_info import (
    MediaInfo,
    SourceType,
    SupplierMark,
    UnusableFile,
    VideoInfo,
)
from generation.video_files.mp4_boxes import QUICKTIME

IMAGE_QUALITY, SMALL_QUALITY = 92, 82
EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
THUMBNAIL_PIXELS = 480
MODERATION_PIXELS = 768
MAX_PIXELS = 50_000_000
EBML = b"\x1a\x45\xdf\xa3"
THUMBNAIL_NAME = "thumbnail.jpg"


def probe(
    path: Path,
    folder: Path,
    *,
    kind: str,
    frame_count: int,
    source_type: SourceType = SourceType.GENERATED,
) -> MediaInfo:
    """Read a file completely. Writes into `folder`: a thumbnail, up to `frame_count` JPEGs for
    moderation, and an image as it is to be stored. All have the AI mark.

    Raises UnusableFile, and the decoder's exceptions for malicious content.
    """
    return (
        _probe_video(path, folder, frame_count)
        if kind == "video"
        else _probe_image(path, folder, frame_count, source_type)
    )


def _probe_image(path: Path, folder: Path, frame_count: int, source_type: SourceType) -> MediaInfo:
    try:
        with open_image(path, formats=tuple(EXTENSIONS), max_pixels=MAX_PIXELS) as image:
            image_format = image.format or ""
            upright = ImageOps.exif_transpose(image)
    except TooManyPixels:
        raise UnusableFile("too many pixels") from None
    mark = ai_mark.read_image_mark(path)
    if mark == SupplierMark.CREDENTIALS:
        name = f"image.{EXTENSIONS[image_format]}"
        shutil.copyfile(path, folder / name)
    else:
        name = _reencode(upright, folder, image_format, source_type)
    samples = (
        [_save_small_jpeg(upright, folder / "0.jpg", MODERATION_PIXELS, source_type)]
        if frame_count
        else []
    )
    thumbnail = _save_thumbnail(upright, folder, source_type)
    return MediaInfo(
        "image",
        source_type=source_type,
        supplier_mark=mark,
        image=name,
        thumbnail=thumbnail,
        frames=samples,
        width=upright.width,
        height=upright.height,
    )


def _reencode(image: Image.Image, folder: Path, image_format: str, source_type: SourceType) -> str:
    """Save without the provider's metadata: as a JPEG, or in its own format if it is
    transparent. Returns the file's name."""
    if is_transparent(image):
        kept, kept_format = image.convert("RGBA"), image_format
    else:
        kept, kept_format = image.convert("RGB"), "JPEG"
    name = f"image.{EXTENSIONS[kept_format]}"
    ai_mark.save_image(
        kept,
        folder / name,
        image_format=kept_format,
        quality=IMAGE_QUALITY,
        source_type=source_type,
    )
    return name


def _probe_video(path: Path, folder: Path, frame_count: int) -> MediaInfo:
    header = _read_head(path)
    with open_video(path) as (container, stream):
        video = read_video(stream)
        audio_codec = next((stream.codec.canonical_name for stream in container.streams.audio), "")
        frames = (to_upright_image(frame) for frame in container.decode(stream))
        thumbnail = _save_thumbnail(next(frames), folder)
        frames.close()
        _require_complete(container, stream)
    samples = [
        _save_small_jpeg(frame, folder / f"{number}.jpg", MODERATION_PIXELS)
        for number, frame in enumerate(_sample_frames(path, frame_count) if frame_count else ())
    ]
    if frame_count and not samples:
        raise UnusableFile("no frames")
    kind = "matroska" if header[:4] == EBML else "mov" if header[4:] == QUICKTIME else "mp4"
    return MediaInfo(
        kind,
        video,
        audio_codec,
        supplier_mark=ai_mark.read_video_mark(path),
        can_append_mark=ai_mark.can_append_mark(path),
        thumbnail=thumbnail,
        frames=samples,
    )


def _read_head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(12)


@contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a video and its first video stream.

    The container format is forced, because other formats refer to files and URLs that the library
    would open. Raises UnusableFile.
    """
    kind = "matroska" if _read_head(path)[:4] == EBML else "mp4"
    with av.open(str(path), format=kind) as container:
        if not container.streams.video:
            raise UnusableFile("no video stream")
        stream = container.streams.video[0]
        if stream.width * stream.height > MAX_PIXELS:
            raise UnusableFile("too many pixels")
        yield container, stream


def to_upright_image(frame: av.VideoFrame) -> Image.Image:
    """Return the frame as players show it, rotated counterclockwise by the display matrix."""
    image: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image


def read_video(stream: VideoStream) -> VideoInfo:
    context = stream.codec_context
    codec = context.codec.canonical_name
    return VideoInfo(
        codec,
        context.codec_tag,
        context.pix_fmt or "",
        stream.width,
        stream.height,
        _has_parameter_sets(codec, context.extradata or b""),
    )


def read_rotation(path: Path) -> int:
    """Return the video's rotation in degrees, counterclockwise."""
    with open_video(path) as (container, stream):
        return int(next(container.decode(stream)).rotation)


def _has_parameter_sets(codec: str, header: bytes) -> bool:
    """Check the number of sequence parameter sets in `avcC`, of arrays (VPS, SPS, PPS) in `hvcC`
    (ISO/IEC 14496-15, 5.3.3.1 and 8.3.3.1)."""
    if codec == "h264":
        return len(header) > 5 and header[5] & 0x1F > 0
    if codec == "hevc":
        return len(header) > 22 and header[22] >= 3
    return True


def _require_complete(container: InputContainer, stream: VideoStream) -> None:
    """Raise UnusableFile if the last frames are missing. The index of a truncated file still lists
    them."""
    time_base = stream.time_base
    if not time_base:
        raise UnusableFile("no duration")
    if stream.duration:
        duration = float(stream.duration * time_base)
    elif container.duration:
        duration = container.duration / av.time_base
    else:
        raise UnusableFile("no duration")
    container.seek(0)
    last = max(
        (packet.pts + (packet.duration or 0) for packet in container.demux(stream)
         if packet.pts is not None and packet.size),
        default=0,
    )  # fmt: skip
    if float(last * time_base) < duration * 0.9:
        raise UnusableFile("cut short")


def _sample_frames(path: Path, count: int) -> Iterator[Image.Image]:
    """Return a frame from the middle of each of `count` equal parts.

    Decodes the whole video once: seeking starts at the previous key frame, and there is often only
    one.
    """
    with open_video(path) as (container, stream):
        started, duration = stream.start_time or 0, stream.duration or 0
        if not duration and container.duration and stream.time_base:
            duration = int(container.duration / av.time_base / stream.time_base)
        wanted = [started + duration * (2 * part + 1) // (2 * count) for part in range(count)]
        for frame in container.decode(stream):
            if wanted and frame.pts is not None and frame.pts >= wanted[0]:
                yield to_upright_image(frame)
                wanted = [at for at in wanted if at > frame.pts]


def _save_thumbnail(
    image: Image.Image, folder: Path, source_type: SourceType = SourceType.GENERATED
) -> str:
    return _save_small_jpeg(image, folder / THUMBNAIL_NAME, THUMBNAIL_PIXELS, source_type)


def _save_small_jpeg(
    image: Image.Image,
    path: Path,
    longest_side: int,
    source_type: SourceType = SourceType.GENERATED,
) -> str:
    small = image.copy()
    small.thumbnail((longest_side, longest_side))
    ai_mark.save_image(
        _to_rgb(small),
        path,
        image_format="JPEG",
        quality=SMALL_QUALITY,
        source_type=source_type,
    )
    return path.name


def _to_rgb(image: Image.Image) -> Image.Image:
    return (
        flatten(image, background="white") if image.has_transparency_data else image.convert("RGB")
    )
