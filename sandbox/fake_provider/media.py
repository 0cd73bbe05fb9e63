"""Rendering of results: small, but real H.264 and JPEG files that any player shows."""

import asyncio
import io
import json
import tempfile
import textwrap
import unicodedata
from collections import OrderedDict
from colorsys import hsv_to_rgb
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from math import sin
from pathlib import Path
from typing import Any

import av
from PIL import Image, ImageDraw, ImageFont, ImageOps

from sandbox.fake_provider import edits, trainings
from sandbox.fake_provider.specs import (
    SHORT_SIDE,
    ConfigSpec,
    EditSpec,
    ImageSpec,
    Spec,
    VideoSpec,
    WeightsSpec,
)

FRAMES_PER_SECOND = 8
# Pixels, for a short side of SHORT_SIDE.
TEXT_SIZE = 15
MARGIN = 10
BAR_HEIGHT = 10
# Pixels of the drawing that edits an image.
EDIT_LAYER = (512, 512)
HILLS = 3
RIDGE_STEPS = 40
ZOOM = 2
MAX_CACHED = 512
AUDIO_SAMPLE_RATE = 48_000
ENCODER_OPTIONS = {
    "libx264": {"preset": "ultrafast", "crf": "30"},
    "libx265": {"preset": "ultrafast", "crf": "30", "x265-params": "log-level=none"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
}


class MediaRenderer:
    """Renders in threads. The same spec is rendered once."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="render")
        self._cache: OrderedDict[Spec, asyncio.Future[bytes]] = OrderedDict()

    async def render(self, spec: Spec) -> bytes:
        future = self._cache.get(spec)
        if future is None:
            loop = asyncio.get_running_loop()
            future = self._cache[spec] = loop.run_in_executor(self._pool, render, spec)
            if len(self._cache) > MAX_CACHED:
                self._cache.popitem(last=False)
        self._cache.move_to_end(spec)
        # A waiting client may disconnect; the render goes on for the others.
        return await asyncio.shield(future)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def render(spec: Spec) -> bytes:
    """Raises UnusableSource for a spec with a customer's files."""
    match spec:
        case VideoSpec():
            return render_video(spec)
        case EditSpec():
            return render_edit(spec)
        case WeightsSpec():
            return trainings.train(spec)
        case ConfigSpec():
            return json.dumps(asdict(spec)).encode()
    return render_image(spec)


def render_video(spec: VideoSpec) -> bytes:
    keyframes = edits.keyframes(spec) if spec.first_url else None
    still = _draw_prompt(spec)
    frames = spec.seconds * FRAMES_PER_SECOND
    # Faststart rewrites the file to move the index to the front, so a file is needed.
    with tempfile.TemporaryDirectory(prefix="sandbox-") as folder:
        path = Path(folder) / "output.mp4"
        with av.open(path, "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream: Any = container.add_stream(
                spec.encoder, rate=FRAMES_PER_SECOND, options=ENCODER_OPTIONS[spec.encoder]
            )
            stream.width, stream.height, stream.pix_fmt = spec.width, spec.height, "yuv420p"
            # More threads cost more than they save for such small frames.
            stream.codec_context.thread_count = 1
            audio: Any = None
            if spec.encoder == "libx265":
                stream.codec_context.codec_tag = "hev1"
            elif spec.encoder == "libvpx-vp9":
                audio = container.add_stream("libopus", rate=AUDIO_SAMPLE_RATE, layout="stereo")
            for number in range(1, frames + 1):
                if keyframes:
                    frame = Image.blend(*keyframes, (number - 1) / max(frames - 1, 1))
                else:
                    frame = still.copy()
                    ImageDraw.Draw(frame).rectangle(
                        (0, spec.height - BAR_HEIGHT, spec.width * number // frames, spec.height),
                        fill="orange",
                    )
                container.mux(stream.encode(av.VideoFrame.from_image(frame)))  # type: ignore[no-untyped-call]
            container.mux(stream.encode())
            if audio:
                container.mux(audio.encode(_silence()))
                container.mux(audio.encode())
        return path.read_bytes()


def _silence() -> av.AudioFrame:
    """Return 20 ms of silence, a frame size that Opus accepts."""
    frame = av.AudioFrame(format="flt", layout="stereo", samples=AUDIO_SAMPLE_RATE // 50)
    frame.sample_rate, frame.pts = AUDIO_SAMPLE_RATE, 0
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    return frame


def render_edit(spec: EditSpec) -> bytes:
    layer = _draw_prompt(ImageSpec(spec.prompt, *EDIT_LAYER, spec.number))
    buffer = io.BytesIO()
    edits.edit(spec, layer).save(buffer, "JPEG", quality=edits.QUALITY)
    return buffer.getvalue()


def render_image(spec: ImageSpec) -> bytes:
    buffer = io.BytesIO()
    image = _draw_prompt(spec)
    if spec.weights_url:
        image = trainings.frame(image, spec)
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _draw_prompt(spec: VideoSpec | ImageSpec) -> Image.Image:
    """Draw the prompt on a landscape whose colours and hills are derived from the spec."""
    # Small ones are drawn larger, for smooth edges.
    zoom = ZOOM if min(spec.width, spec.height) <= SHORT_SIDE else 1
    digest = sha256(repr(spec).encode()).digest()
    image = _draw_landscape((spec.width * zoom, spec.height * zoom), digest).reduce(zoom)
    scale = min(image.size) / SHORT_SIDE
    size, margin = TEXT_SIZE * scale, MARGIN * scale
    columns = max(int((spec.width - 2 * margin) * 2 / size), 1)
    lines = max(int((spec.height - 2 * margin - BAR_HEIGHT) / (size * 1.25)), 1)
    wrapped = textwrap.wrap(spec.prompt, width=columns, max_lines=lines, placeholder=" ...")
    text, draw, font = _plain("\n".join(wrapped)), ImageDraw.Draw(image), _font(size)
    height = draw.multiline_textbbox((0, 0), text, font=font)[3]
    top = max(spec.height - BAR_HEIGHT - margin - height, margin)
    draw.multiline_text((margin, top), text, font=font, fill="white")
    return image


def _draw_landscape(size: tuple[int, int], digest: bytes) -> Image.Image:
    width, height = size
    hue, sun, *waves = (byte / 256 for byte in digest[: 2 + HILLS])
    column = Image.linear_gradient("L").resize((1, height))
    sky = ImageOps.colorize(column, _colour(hue, 0.5, 0.45), _colour(hue + 0.1, 0.4, 0.8))
    image = sky.resize(size, Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(image)
    centre, radius = (width * (0.2 + 0.6 * sun), height * 0.36), min(size) * 0.11
    draw.circle(centre, radius, fill=_colour(hue + 0.1, 0.45, 0.95))
    for hill, wave in enumerate(waves):
        ridge = [
            (
                width * step / RIDGE_STEPS,
                height * (0.58 + 0.13 * hill + 0.06 * sin(5 * step / RIDGE_STEPS + 6.3 * wave)),
            )
            for step in range(RIDGE_STEPS + 1)
        ]
        shade = _colour(hue + 0.04 * hill, 0.45, 0.36 - 0.09 * hill)
        draw.polygon([(0, height), *ridge, (width, height)], fill=shade)
    return image


def _colour(hue: float, saturation: float, value: float) -> tuple[int, ...]:
    return tuple(round(255 * part) for part in hsv_to_rgb(hue, saturation, value))


def _plain(text: str) -> str:
    """Without the marks of letters: Pillow's own font has few more than ASCII."""
    return "".join(
        letter if letter.isascii() else unicodedata.normalize("NFKD", letter)[0]
        for letter in text.replace("ı", "i")
    )


@cache
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)
