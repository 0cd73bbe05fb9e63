"""The boxes of an MP4 file (ISO/IEC 14496-12), as far as they are needed to change a tag.

Four bytes are changed in place. Everything else stays, marks of origin included, which writing the
file anew would lose.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from generation.video_files.playability import RETAGGED
from generation.video_files.report import Unusable

# The way to the descriptions of a track's samples.
WAY = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
# In `stsd`, before its entries: version, flags and their number.
STSD_HEAD = 8


def retag(path: Path) -> None:
    """Call HEVC hvc1 and H.264 avc1. Raises Unusable where no such tag is found."""
    with path.open("r+b") as film:
        places = list(_entries(film, 0, path.stat().st_size, WAY))
        for place, tag in places:
            film.seek(place)
            film.write(RETAGGED[tag])
    if not places:
        raise Unusable("no tag to change")


def _entries(
    film: BinaryIO, begin: int, end: int, way: tuple[bytes, ...]
) -> Iterator[tuple[int, bytes]]:
    """Where the tags stand that are to be changed, and which they are."""
    for kind, start, stop in _boxes(film, begin, end):
        if not way:
            if kind in RETAGGED:
                yield start - 4, kind
        elif kind == way[0]:
            skipped = STSD_HEAD if kind == b"stsd" else 0
            yield from _entries(film, start + skipped, stop, way[1:])


def _boxes(film: BinaryIO, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Each box between: its kind, and where what is in it begins and ends."""
    while begin + 8 <= end:
        film.seek(begin)
        head = film.read(16)
        size, kind, start = int.from_bytes(head[:4]), head[4:8], begin + 8
        if size == 1:  # the size follows, in eight bytes
            size, start = int.from_bytes(head[8:16]), begin + 16
        stop = begin + size if size else end
        if not start <= stop <= end:
            return
        yield kind, start, stop
        begin = stop
