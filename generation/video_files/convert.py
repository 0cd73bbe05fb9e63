"""Conversion to an MP4 that iPhones play. Runs in the process of `__main__`.

A playable stream is copied, any other is encoded: H.264 with 8 bits and 4:2:0, AAC. Matroska has no
decode timestamps, so both streams of a Matroska file are encoded. Other streams (subtitles, time
codes, a second audio track) are dropped. The index is moved to the front, so that playback starts
with the first bytes.
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
from generation.video_files.probe import open_video, read_rotation, read_video

# Close to the original quality, in a quarter of the default's time.
H264_OPTIONS = {"preset": "veryfast", "crf": "18", "profile": "high"}
AUDIO_BITRATE = 192_000
AUDIO_SAMPLE_RATE = 48_000
# Each thread holds frames in memory.
THREADS = 2

PacketWriter = Callable[[Packet], Iterator[Packet]]


def convert(path: Path, target_path: Path) -> None:
    """Raises UnusableFile, and the decoder's exceptions for malicious content."""
    with (
        open_video(path) as (source, video),
        av.open(str(target_path), "w", format="mp4", options={"movflags": "+faststart"}) as target,
    ):
        video.codec_context.thread_count = THREADS
        may_copy = "matroska" not in source.format.name
        streams: list[VideoStream | AudioStream] = [video]
        writers = {
            video.index: _video_copier(video, target)
            if may_copy and playability.is_video_playable(read_video(video))
            else _video_encoder(video, target, rotation=read_rotation(path))
        }
        if source.streams.audio:
            audio = source.streams.audio[0]
            streams.append(audio)
            is_copied = may_copy and playability.is_audio_playable(
                audio.codec_context.codec.canonical_name
            )
            writers[audio.index] = (
                _copier(target.add_stream_from_template(audio))
                if is_copied
                else _audio_encoder(audio, target)
            )
        # The last packet of each stream is empty and flushes decoders and encoders.
        for packet in source.demux(streams):
            for written in writers[packet.stream.index](packet):
                target.mux(written)


def _video_copier(source: VideoStream, target: OutputContainer) -> PacketWriter:
    output = target.add_stream_from_template(source)
    output.codec_context.codec_tag = playability.TAGS[read_video(source).codec]
    return _copier(output)


def _video_encoder(source: VideoStream, target: OutputContainer, *, rotation: int) -> PacketWriter:
    output = target.add_stream("libx264", rate=source.average_rate or 30, options=H264_OPTIONS)
    output.width, output.height = _output_size(source.width, source.height)
    output.pix_fmt = "yuv420p"
    output.codec_context.thread_count = THREADS
    if source.time_base:
        output.codec_context.time_base = source.time_base
    if source.sample_aspect_ratio:
        output.codec_context.sample_aspect_ratio = source.sample_aspect_ratio
    if rotation:
        output.set_display_rotation(rotation)

    def write(packet: Packet) -> Iterator[Packet]:
        for frame in source.decode(packet):
            frame.pict_type = 0  # let the encoder choose the frame type
            yield from output.encode(
                frame.reformat(output.width, output.height, "yuv420p", dst_color_range="MPEG")
            )
        if not packet.size:
            yield from output.encode(None)

    return write


def _audio_encoder(source: AudioStream, target: OutputContainer) -> PacketWriter:
    output = target.add_stream("aac", rate=AUDIO_SAMPLE_RATE, layout="stereo")
    output.bit_rate = AUDIO_BITRATE
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=AUDIO_SAMPLE_RATE)

    def write(packet: Packet) -> Iterator[Packet]:
        is_last = not packet.size
        frames = [*source.decode(packet), *([None] if is_last else [])]
        for frame in frames:
            for resampled in resampler.resample(frame):
                yield from output.encode(resampled)
        if is_last:
            yield from output.encode(None)

    return write


def _copier(output: VideoStream | AudioStream) -> PacketWriter:
    def write(packet: Packet) -> Iterator[Packet]:
        if packet.size:
            packet.stream = output
            yield packet

    return write


def _output_size(width: int, height: int) -> tuple[int, int]:
    """Return even sides, because 4:2:0 stores one colour for 2x2 pixels, within the size that
    iPhones decode."""
    scale = min(1, (playability.MAX_PIXELS / (width * height)) ** 0.5)
    return tuple(max(int(side * scale) // 2 * 2, 2) for side in (width, height))  # type: ignore[return-value]
