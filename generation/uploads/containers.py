"""Validation that an image file ends where its format says. A file that continues may be two file
types in one.

The walk also bounds the decoder's work, for example for a JPEG with a thousand scans, which would
take minutes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

MAX_PARTS = 10_000
# A progressive JPEG has about ten scans. Each scan visits all pixels, however small it is: 0.1 s
# for 50 megapixels.
MAX_SCANS = 30


class InvalidContainer(Exception):
    """The file is truncated, or has data after the image."""


def validate_container(content: bytes, kind: str) -> None:
    """Check that the image ends at the end of the file. `kind` is Pillow's format name.

    Raises InvalidContainer.
    """
    _VALIDATORS[kind](content)


def _validate_jpeg(content: bytes) -> None:
    """Walk the markers (ITU T.81, B.1.1.2) to the end of the last image.

    More images may follow the first (CIPA DC-007): phones store depth and brightness in them.
    """
    position = scans = 0
    for _ in range(MAX_PARTS):
        marker = _JPEG_MARKER.search(content, position)
        if marker is None:
            break
        kind, position = marker[1], marker.end()
        if kind == _JPEG_END:
            if _PADDING.fullmatch(content, position):
                return
            another = _JPEG_START.match(content, position)
            if another is None:
                break
            position = another.end()
        elif kind not in _JPEG_WITHOUT_LENGTH:
            scans += kind == _JPEG_SCAN
            position += int.from_bytes(content[position : position + 2], "big")
        if scans > MAX_SCANS:
            break
    raise InvalidContainer


_JPEG_SCAN, _JPEG_END = b"\xda", b"\xd9"
_JPEG_WITHOUT_LENGTH = {b"\x01", b"\xd8"}  # markers without a length
# Excludes stuffed bytes, restart markers and fill bytes within a scan.
_JPEG_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_JPEG_START = re.compile(rb"\0*\xff\xd8(?=\xff)")
_PADDING = re.compile(rb"\0*")


def _validate_png(content: bytes) -> None:
    """Walk the chunks (PNG, 5.3)."""
    position = 8
    for _ in range(MAX_PARTS):
        kind = content[position + 4 : position + 8]
        position += 12 + int.from_bytes(content[position : position + 4], "big")
        if kind == b"IEND" and position == len(content):
            return
        if kind == b"IEND" or position >= len(content):
            break
    raise InvalidContainer


def _validate_webp(content: bytes) -> None:
    """Check the size of the RIFF file, padded to an even length (RFC 9649, 2.3)."""
    size = int.from_bytes(content[4:8], "little")
    if len(content) not in (8 + size, 8 + size + size % 2):
        raise InvalidContainer


def _validate_heif(content: bytes) -> None:
    """Walk the boxes (ISO/IEC 14496-12, 4.2)."""
    position = 0
    for _ in range(MAX_PARTS):
        size = int.from_bytes(content[position : position + 4], "big")
        if size == 0 and content[position + 4 : position + 8] == b"mdat":
            return  # the last box, up to the end of the file
        if size == 1:
            size = int.from_bytes(content[position + 8 : position + 16], "big")
        position += size
        if position == len(content) and size >= 8:
            return
        if position > len(content) or size < 8:
            break
    raise InvalidContainer


_VALIDATORS: dict[str, Callable[[bytes], None]] = {
    "JPEG": _validate_jpeg,
    "MPO": _validate_jpeg,
    "PNG": _validate_png,
    "WEBP": _validate_webp,
    "HEIF": _validate_heif,
}
