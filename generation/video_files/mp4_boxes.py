"""Changing the codec tag in an MP4 file (ISO/IEC 14496-12).

Four bytes are changed in place. Everything else stays, including provenance marks, which a rewrite
of the file would lose.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from generation.video_files.media_info import UnusableFile
from generation.video_files.playability import TAG_REPLACEMENTS

# Path of boxes to the sample descriptions of a track.
SAMPLE_ENTRY_PATH = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
# Bytes before the entries of `stsd`: version, flags and count.
STSD_HEADER_BYTES = 8


def retag(path: Path) -> None:
    """Set the tag of HEVC to hvc1, of H.264 to avc1. Raises UnusableFile if no such tag is
    found.
    """
    with path.open("r+b") as file:
        tags = list(_find_replaceable_tags(file, 0, path.stat().st_size, SAMPLE_ENTRY_PATH))
        for position, tag in tags:
            file.seek(position)
            file.write(TAG_REPLACEMENTS[tag])
    if not tags:
        raise UnusableFile("no tag to change")


def _find_replaceable_tags(
    file: BinaryIO, offset: int, end: int, path_left: tuple[bytes, ...]
) -> Iterator[tuple[int, bytes]]:
    """Yield the position and value of each tag to change."""
    for kind, start, stop in _iter_boxes(file, offset, end):
        if not path_left:
            if kind in TAG_REPLACEMENTS:
                yield start - 4, kind
        elif kind == path_left[0]:
            skipped = STSD_HEADER_BYTES if kind == b"stsd" else 0
            yield from _find_replaceable_tags(file, start + skipped, stop, path_left[1:])


def _iter_boxes(file: BinaryIO, offset: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes in a range: type, start and end of the content."""
    while offset + 8 <= end:
        file.seek(offset)
        head = file.read(16)
        size, kind, start = int.from_bytes(head[:4]), head[4:8], offset + 8
        if size == 1:  # a 64-bit size follows
            size, start = int.from_bytes(head[8:16]), offset + 16
        stop = offset + size if size else end
        if not start <= stop <= end:
            return
        yield kind, start, stop
        offset = stop
