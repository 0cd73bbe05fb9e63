"""Tiny films of every kind, drawn here: the upper half is red, the lower one blue."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import av
from PIL import Image

RATE = 8
WIDTH, HEIGHT = 96, 64
QUIET = {
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "libsvtav1": {"preset": "12"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
}


def film(
    codec: str = "libx264",
    pixels: str = "yuv420p",
    *,
    container: str = "mp4",
    tag: str = "",
    turn: int = 0,
    sound: str = "",
    frames: int = 6,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    flags: str = "",
) -> bytes:
    options = {"movflags": flags} if flags else {}
    # To put the index in front, what was written is read again, which needs a file.
    with (
        NamedTemporaryFile() as out,
        av.open(out.name, "w", format=container, options=options) as target,
    ):
        video: Any = target.add_stream(codec, rate=RATE, options=QUIET.get(codec, {}))
        video.width, video.height = size
        video.pix_fmt = pixels
        video.codec_context.thread_count = 1
        if tag:
            video.codec_context.codec_tag = tag
        if turn:
            video.set_display_rotation(turn)
        heard: Any = None
        if sound:
            heard = target.add_stream(sound, rate=48_000, layout="stereo")
        for number in range(frames):
            frame = av.VideoFrame.from_image(picture(size))
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            target.mux(video.encode(frame))
        if heard:
            for silence in _silence(sound, seconds=frames / RATE):
                target.mux(heard.encode(silence))
            target.mux(heard.encode(None))
        target.mux(video.encode(None))
        target.close()
        return Path(out.name).read_bytes()


def picture(size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    width, height = size
    image = Image.new("RGB", size, (250, 0, 0))
    image.paste((0, 0, 250), (0, height // 2, width, height))
    return image


def _silence(sound: str, *, seconds: float) -> list[av.AudioFrame]:
    samples = 960 if sound == "libopus" else 1024
    kind = {"libopus": "flt", "pcm_s16le": "s16"}.get(sound, "fltp")
    frames = []
    for number in range(int(seconds * 48_000 / samples) + 1):
        frame = av.AudioFrame(format=kind, layout="stereo", samples=samples)
        frame.sample_rate, frame.pts = 48_000, number * samples
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frames.append(frame)
    return frames


def colours(image: Image.Image) -> str:
    """What is seen at each edge, clockwise from above: "r" or "b"."""
    small = image.convert("RGB")
    width, height = small.size
    places = [(width // 4, 2), (width - 3, height // 4), (width // 4, height - 3), (2, height // 4)]
    seen = [small.getpixel(place) for place in places]
    return "".join("r" if red > blue else "b" for red, _, blue in seen)  # type: ignore[misc]
