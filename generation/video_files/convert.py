"""Writing a film anew as an MP4 that iPhones play. Runs in the process of `__main__`.

A stream that plays is copied, the other is encoded: H.264 with 8 bits and 4:2:0, AAC. Matroska does
not say when a frame is to be decoded, so from there both are encoded. Other streams (subtitles,
time codes, a second sound) are left out. The index is put in front, so that playing
begins with the first bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from generation.video_files import playability
from generation.video_files.probe import opened, read_video, turn_of

# Nearly what was made, in a quarter of the time that the default takes.
H264 = {"preset": "veryfast", "crf": "18", "profile": "high"}
SOUND_BITS = 192_000
SOUND_RATE = 48_000
# Each holds frames in memory.
THREADS = 2

Write = Callable[[Packet], Iterator[Packet]]


def convert(path: Path, into: Path) -> None:
    """Raises Unusable, and whatever a decoder raises for hostile bytes."""
    with (
        opened(path) as (source, video),
        av.open(str(into), "w", format="mp4", options={"movflags": "+faststart"}) as target,
    ):
        video.codec_context.thread_count = THREADS
        may_copy = "matroska" not in source.format.name
        streams: list[VideoStream | AudioStream] = [video]
        writers = {
            video.index: _video_copier(video, target)
            if may_copy and playability.plays(read_video(video))
            else _video_encoder(video, target, turn=turn_of(path))
        }
        if source.streams.audio:
            sound = source.streams.audio[0]
            streams.append(sound)
            is_copied = may_copy and playability.plays_sound(
                sound.codec_context.codec.canonical_name
            )
            writers[sound.index] = (
                _copier(target.add_stream_from_template(sound))
                if is_copied
                else _sound_encoder(sound, target)
            )
        # Ends with an empty packet of each stream, which empties decoders and encoders.
        for packet in source.demux(streams):
            for written in writers[packet.stream.index](packet):
                target.mux(written)


def _video_copier(source: VideoStream, target: OutputContainer) -> Write:
    copied = target.add_stream_from_template(source)
    copied.codec_context.codec_tag = playability.TAGS[read_video(source).codec]
    return _copier(copied)


def _video_encoder(source: VideoStream, target: OutputContainer, *, turn: int) -> Write:
    made = target.add_stream("libx264", rate=source.average_rate or 30, options=H264)
    made.width, made.height = _size(source.width, source.height)
    made.pix_fmt = "yuv420p"
    made.codec_context.thread_count = THREADS
    if source.time_base:
        made.codec_context.time_base = source.time_base
    if source.sample_aspect_ratio:
        made.codec_context.sample_aspect_ratio = source.sample_aspect_ratio
    if turn:
        made.set_display_rotation(turn)

    def write(packet: Packet) -> Iterator[Packet]:
        for frame in source.decode(packet):
            frame.pict_type = 0  # as the encoder sees fit, and not as it was
            yield from made.encode(
                frame.reformat(made.width, made.height, "yuv420p", dst_color_range="MPEG")
            )
        if not packet.size:
            yield from made.encode(None)

    return write


def _sound_encoder(source: AudioStream, target: OutputContainer) -> Write:
    made = target.add_stream("aac", rate=SOUND_RATE, layout="stereo")
    made.bit_rate = SOUND_BITS
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=SOUND_RATE)

    def write(packet: Packet) -> Iterator[Packet]:
        is_last = not packet.size
        frames = [*source.decode(packet), *([None] if is_last else [])]
        for frame in frames:
            for resampled in resampler.resample(frame):
                yield from made.encode(resampled)
        if is_last:
            yield from made.encode(None)

    return write


def _copier(copied: VideoStream | AudioStream) -> Write:
    def write(packet: Packet) -> Iterator[Packet]:
        if packet.size:
            packet.stream = copied
            yield packet

    return write


def _size(width: int, height: int) -> tuple[int, int]:
    """Even, as 4:2:0 has a colour for two by two pixels, and no larger than iPhones decode."""
    scale = min(1, (playability.MOST_PIXELS / (width * height)) ** 0.5)
    return tuple(max(int(side * scale) // 2 * 2, 2) for side in (width, height))  # type: ignore[return-value]
