"""Changing the codec tag in an MP4 file, and adding XMP to it (ISO/IEC 14496-12).

Four bytes are changed in place, or a box is appended. Everything else stays, because a rewrite of
the file would lose provenance marks.
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
# The rest of the first box of a QuickTime file, after its size.
QUICKTIME = b"ftypqt  "
# The extended type of a box of XMP (XMP, part 3, 1.1.6).
XMP_TYPE = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


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


def append_xmp(path: Path, packet: bytes) -> None:
    """Append a box of XMP to a file that `is_complete`."""
    content = b"uuid" + XMP_TYPE + packet
    with path.open("ab") as file:
        file.write((4 + len(content)).to_bytes(4) + content)


def read_xmp(path: Path) -> bytes:
    """The file's own XMP. Empty if there is none."""
    with path.open("rb") as file:
        for kind, start, stop in _iter_boxes(file, 0, path.stat().st_size):
            if kind == b"uuid":
                file.seek(start)
                if file.read(len(XMP_TYPE)) == XMP_TYPE:
                    return file.read(stop - start - len(XMP_TYPE))
    return b""


def is_complete(path: Path) -> bool:
    """Whether the last box ends with the file and states its size, so that a box can follow."""
    size = path.stat().st_size
    last, end = 0, 0
    with path.open("rb") as file:
        for _, _, stop in _iter_boxes(file, 0, size):
            last, end = end, stop
        file.seek(last)
        return end == size and file.read(4) != bytes(4)


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
