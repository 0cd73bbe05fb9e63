"""What makes an image useless for a training: too small, blurred, badly exposed, seen before, and
for a person no face or several.

An image is measured once; the limits are settings. Of 30 photographs (samples of scikit-image,
scikit-learn and packages for faces) the sharpness was 149 to 4520 as they were, and 3 to 24 after a
blur with a radius of 0.4 % of the shorter side. The hashes of different ones differed in 16 bits
and more, those of one image encoded again, scaled or blurred in 6 and less.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from PIL import Image, ImageFilter, ImageStat

from generation.models import PictureProblem
from generation.training.faces import count_faces

MESSAGES: dict[str, Promise] = {
    PictureProblem.TOO_SMALL: _("The image is too small."),
    PictureProblem.BLURRED: _("The image is blurred."),
    PictureProblem.TOO_DARK: _("The image is too dark."),
    PictureProblem.TOO_BRIGHT: _("The image is too bright."),
    PictureProblem.DUPLICATE: _("The image is nearly the same as another one."),
    PictureProblem.NO_FACE: _("The image shows no face."),
    PictureProblem.SEVERAL_FACES: _("The image shows several faces."),
    PictureProblem.UNREADABLE: _("This file is not a supported image."),
    PictureProblem.TOO_LARGE: _("The file is too large."),
    PictureProblem.NOT_ALLOWED: _("This content is not allowed."),
    PictureProblem.SET_FULL: _("The set has as many images as a training can use."),
    PictureProblem.NOT_CHECKED: _("The image was not checked yet. Please send it again."),
}

# Sharpness is measured at one size, in squares, so that a sharp face before a soft background is
# sharp.
MEASURED_SIDE_PX, SQUARE_PX = 512, 64
# Of the longer side to the shorter. A strip is measured as if it were no longer, because otherwise
# one of 1 by 65,000 pixels would be enlarged to 17 gigapixels.
MAX_MEASURED_RATIO = 4
SHARPEST_SHARE = 0.1
_LAPLACIAN = ImageFilter.Kernel((3, 3), (0, 1, 0, 1, -4, 1, 0, 1, 0), scale=1, offset=128)
# Of 255: up to here shadows are black, from there on highlights are white.
BLACK, WHITE = 8, 247


@dataclass(frozen=True)
class Measurements:
    """`sharpness`: the variance of the Laplacian that the sharpest tenth of the squares reach.
    `luminance`: the mean, from 0 to 255. `black`, `white`: shares of clipped pixels. `hash`: 64
    bits that near-duplicates share, in hexadecimal. `faces`: None if not counted."""

    short_side_px: int
    sharpness: int
    luminance: int
    black: float
    white: float
    hash: str
    faces: int | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def measure(image: Image.Image) -> Measurements:
    """Measure an upright RGB image."""
    short_side = min(image.size)
    scale = MEASURED_SIDE_PX / short_side
    longest = MEASURED_SIDE_PX * MAX_MEASURED_RATIO
    size = (min(round(image.width * scale), longest), min(round(image.height * scale), longest))
    small = image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC)
    grey = small.convert("L")
    histogram, pixels = grey.histogram(), grey.width * grey.height
    return Measurements(
        short_side_px=short_side,
        sharpness=_sharpness(grey),
        luminance=round(ImageStat.Stat(grey).mean[0]),
        black=round(sum(histogram[: BLACK + 1]) / pixels, 3),
        white=round(sum(histogram[WHITE:]) / pixels, 3),
        hash=_difference_hash(grey),
        faces=count_faces(small),
    )


def find_problems(measured: Measurements, *, other_hashes: Iterable[str]) -> list[PictureProblem]:
    """The problems of an image. `other_hashes`: of the usable images of its set."""
    clipped = settings.TRAINING_MAX_CLIPPED_PERCENT / 100
    found = {
        PictureProblem.TOO_SMALL: measured.short_side_px < settings.TRAINING_MIN_SIDE_PX,
        PictureProblem.TOO_DARK: measured.luminance < settings.TRAINING_MIN_LUMINANCE
        or measured.black > clipped,
        PictureProblem.TOO_BRIGHT: measured.luminance > settings.TRAINING_MAX_LUMINANCE
        or measured.white > clipped,
        PictureProblem.BLURRED: measured.sharpness < settings.TRAINING_MIN_SHARPNESS,
        PictureProblem.DUPLICATE: any(is_near(measured.hash, other) for other in other_hashes),
        PictureProblem.NO_FACE: measured.faces == 0,
        PictureProblem.SEVERAL_FACES: (measured.faces or 0) > 1,
    }
    return [problem for problem, applies in found.items() if applies]


def is_near(first: str, second: str) -> bool:
    """Whether two images with these hashes are nearly the same."""
    return (int(first, 16) ^ int(second, 16)).bit_count() <= settings.TRAINING_DUPLICATE_BITS


def _sharpness(grey: Image.Image) -> int:
    edges = grey.filter(_LAPLACIAN)
    # Pillow leaves the outermost pixels as they were.
    variances = sorted(
        ImageStat.Stat(edges.crop((x, y, x + SQUARE_PX, y + SQUARE_PX))).var[0]
        for x in range(1, edges.width - SQUARE_PX, SQUARE_PX)
        for y in range(1, edges.height - SQUARE_PX, SQUARE_PX)
    )
    return round(variances[int(len(variances) * (1 - SHARPEST_SHARE))])


def _difference_hash(grey: Image.Image) -> str:
    """A bit for each of 8 times 8 points: whether the point at its right is darker (dHash)."""
    small = grey.resize((9, 8), Image.Resampling.BOX)
    bits = 0
    for y in range(8):
        for x in range(8):
            left, right = small.getpixel((x, y)), small.getpixel((x + 1, y))
            bits = bits << 1 | (left > right)  # type: ignore[operator]
    return f"{bits:016x}"
