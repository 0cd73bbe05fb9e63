"""Reading a film or picture through, and picturing it. Runs in the process of `__main__`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream
from PIL import Image, ImageOps

from generation.images import TooManyPixels, open_image
from generation.video_files import PICTURE
from generation.video_files.report import Report, Unusable, Video

THUMBNAIL_PIXELS = 480
JUDGED_PIXELS = 768
MAX_PIXELS = 50_000_000
EBML = b"\x1a\x45\xdf\xa3"
QUICKTIME = b"ftypqt  "
THUMBNAIL = "thumbnail.jpg"


def look(path: Path, folder: Path, *, kind: str, pictures: int) -> Report:
    """Read a file through. Into `folder` go a thumbnail, up to `pictures` JPEGs spread over it to
    judge it by, and of an image the image itself, as a JPEG without metadata (PICTURE).

    Raises Unusable, and whatever a decoder raises for hostile bytes.
    """
    return _film(path, folder, pictures) if kind == "video" else _picture(path, folder, pictures)


def _picture(path: Path, folder: Path, pictures: int) -> Report:
    try:
        with open_image(path, formats=("JPEG", "PNG", "WEBP"), max_pixels=MAX_PIXELS) as opened:
            upright = ImageOps.exif_transpose(opened).convert("RGB")
    except TooManyPixels:
        raise Unusable("too many pixels") from None
    upright.save(folder / PICTURE, "JPEG", quality=92)
    judged = [_small_jpeg(upright, folder / "0.jpg", JUDGED_PIXELS)] if pictures else []
    return Report("image", thumbnail=_thumbnail(upright, folder), pictures=judged)


def _film(path: Path, folder: Path, pictures: int) -> Report:
    head = _head(path)
    with opened(path) as (container, stream):
        video = read_video(stream)
        sound = next((one.codec.canonical_name for one in container.streams.audio), "")
        frames = (upright(frame) for frame in container.decode(stream))
        thumbnail = _thumbnail(next(frames), folder)
        frames.close()
        _check_whole(container, stream)
    judged = [
        _small_jpeg(frame, folder / f"{number}.jpg", JUDGED_PIXELS)
        for number, frame in enumerate(_spread_frames(path, pictures) if pictures else ())
    ]
    if pictures and not judged:
        raise Unusable("no frames")
    kind = "matroska" if head[:4] == EBML else "mov" if head[4:] == QUICKTIME else "mp4"
    return Report(kind, video, sound, thumbnail, judged)


def _head(path: Path) -> bytes:
    with path.open("rb") as film:
        return film.read(12)


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A film and its first video stream. The container is forced, as others name files and
    addresses that the library would fetch too. Raises Unusable."""
    kind = "matroska" if _head(path)[:4] == EBML else "mp4"
    with av.open(str(path), format=kind) as container:
        if not container.streams.video:
            raise Unusable("no video stream")
        stream = container.streams.video[0]
        if stream.width * stream.height > MAX_PIXELS:
            raise Unusable("too many pixels")
        yield container, stream


def upright(frame: av.VideoFrame) -> Image.Image:
    """As a player shows it: turned by its display matrix, which counts counterclockwise."""
    image: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image


def read_video(stream: VideoStream) -> Video:
    context = stream.codec_context
    codec = context.codec.canonical_name
    return Video(
        codec,
        context.codec_tag,
        context.pix_fmt or "",
        stream.width,
        stream.height,
        _has_parameter_sets(codec, context.extradata or b""),
    )


def turn_of(path: Path) -> int:
    """Degrees, counterclockwise, by which players turn this film."""
    with opened(path) as (container, stream):
        return int(next(container.decode(stream)).rotation)


def _has_parameter_sets(codec: str, head: bytes) -> bool:
    """By the number of sequence parameter sets in `avcC`, of arrays (VPS, SPS, PPS) in `hvcC`
    (ISO/IEC 14496-15, 5.3.3.1 and 8.3.3.1)."""
    if codec == "h264":
        return len(head) > 5 and head[5] & 0x1F > 0
    if codec == "hevc":
        return len(head) > 22 and head[22] >= 3
    return True


def _check_whole(container: InputContainer, stream: VideoStream) -> None:
    """The index promises frames; a file that was cut short does not have the last of them."""
    time_base = stream.time_base
    if not time_base:
        raise Unusable("no duration")
    if stream.duration:
        lasts = float(stream.duration * time_base)
    elif container.duration:
        lasts = container.duration / av.time_base
    else:
        raise Unusable("no duration")
    container.seek(0)
    last = max(
        (packet.pts + (packet.duration or 0) for packet in container.demux(stream)
         if packet.pts is not None and packet.size),
        default=0,
    )  # fmt: skip
    if float(last * time_base) < lasts * 0.9:
        raise Unusable("cut short")


def _spread_frames(path: Path, count: int) -> Iterator[Image.Image]:
    """From the middle of each of `count` equal parts. Decoded in one go: to seek is to begin again
    at the last key frame, and often there is but one."""
    with opened(path) as (container, stream):
        began, lasts = stream.start_time or 0, stream.duration or 0
        if not lasts and container.duration and stream.time_base:
            lasts = int(container.duration / av.time_base / stream.time_base)
        wanted = [began + lasts * (2 * part + 1) // (2 * count) for part in range(count)]
        for frame in container.decode(stream):
            if wanted and frame.pts is not None and frame.pts >= wanted[0]:
                yield upright(frame)
                wanted = [at for at in wanted if at > frame.pts]


def _thumbnail(picture: Image.Image, folder: Path) -> str:
    return _small_jpeg(picture, folder / THUMBNAIL, THUMBNAIL_PIXELS)


def _small_jpeg(picture: Image.Image, path: Path, longest_side: int) -> str:
    small = picture.copy()
    small.thumbnail((longest_side, longest_side))
    small.convert("RGB").save(path, "JPEG", quality=82)
    return path.name
