"""What came back from a provider: is it what it says it is, and what does it look like?

A local file is opened with its container forced, never a URL: the library would fetch that too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import av
from PIL import Image

from generation.pictures import TooManyPixels, open_picture

THUMBNAIL_PIXELS = 480
JUDGED_PIXELS = 768
MAX_PIXELS = 50_000_000


class Unusable(Exception):
    """Not a video or picture that a phone could show."""


@dataclass(frozen=True)
class Inspected:
    extension: str
    thumbnail: bytes  # a JPEG


def inspect(path: Path, *, kind: str) -> Inspected:
    """Read the file through and picture it. `kind` is "video" or "image". Raises Unusable."""
    try:
        picture = _first_frame(path) if kind == "video" else _picture(path)
    except Unusable:
        raise
    except TooManyPixels:
        raise Unusable("too many pixels") from None
    except Exception as error:
        # What a decoder raises for hostile bytes has no common base: FFmpegError, SyntaxError,
        # StopIteration where there is no frame.
        raise Unusable(type(error).__name__) from error
    thumbnail = _small_jpeg(picture, THUMBNAIL_PIXELS)
    return Inspected("mp4" if kind == "video" else "jpg", thumbnail)


def pictures(path: Path, *, kind: str, count: int) -> list[bytes]:
    """JPEGs to judge a file by: up to `count` frames spread over a video, of an image itself; at
    least one. For a file that was inspected. Raises Unusable."""
    try:
        found = _spread_frames(path, count) if kind == "video" else iter([_picture(path)])
        shown = [_small_jpeg(picture, JUDGED_PIXELS) for picture in found]
    except Exception as error:
        raise Unusable(type(error).__name__) from error
    if not shown:
        raise Unusable("no frames")
    return shown


def _small_jpeg(picture: Image.Image, longest_side: int) -> bytes:
    picture.thumbnail((longest_side, longest_side))
    out = BytesIO()
    picture.convert("RGB").save(out, "JPEG", quality=82)
    return out.getvalue()


def _spread_frames(path: Path, count: int) -> Iterator[Image.Image]:
    """From the middle of each of `count` equal parts. Decoded in one go: to seek is to begin again
    at the last key frame, and often there is but one."""
    with av.open(str(path), format="mp4") as container:
        stream = container.streams.video[0]
        began, lasts = stream.start_time or 0, stream.duration or 0
        wanted = [began + lasts * (2 * part + 1) // (2 * count) for part in range(count)]
        for frame in container.decode(stream):
            if wanted and frame.pts is not None and frame.pts >= wanted[0]:
                yield _as_image(frame)
                wanted = [at for at in wanted if at > frame.pts]


def _first_frame(path: Path) -> Image.Image:
    with av.open(str(path), format="mp4") as container:
        if not container.streams.video:
            raise Unusable("no video stream")
        stream = container.streams.video[0]
        if stream.width * stream.height > MAX_PIXELS:
            raise Unusable("too many pixels")
        first = _as_image(next(container.decode(stream)))
        # The index promises frames; a file that was cut short does not have the last of them.
        if not stream.duration or not stream.time_base:
            raise Unusable("no duration")
        container.seek(0)
        last = max(
            (packet.pts + (packet.duration or 0) for packet in container.demux(stream)
             if packet.pts is not None and packet.size),
            default=0,
        )  # fmt: skip
        if last < stream.duration * 0.9:
            raise Unusable("cut short")
    return first


def _as_image(frame: av.VideoFrame) -> Image.Image:
    image: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
    return image


def _picture(path: Path) -> Image.Image:
    with open_picture(path, formats=("JPEG", "PNG", "WEBP"), most_pixels=MAX_PIXELS) as image:
        return image.convert("RGB")
