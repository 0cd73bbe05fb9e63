"""Pictures that others made: opened by their heads, which say how many pixels would follow."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image

# Pillow's own limit only warns, for whoever reads the log; ours stands before every decoder.
Image.MAX_IMAGE_PIXELS = None


class TooManyPixels(Exception):
    """More than the caller has memory for."""


def open_image(source: Path | BytesIO, *, formats: tuple[str, ...], max_pixels: int) -> Image.Image:
    """The picture, of which only the head has been read; to be closed by the caller.

    Raises TooManyPixels, and what Pillow raises for bytes that are no such picture.
    """
    image = Image.open(source, formats=formats)
    try:
        check_pixels(image, max_pixels)
    except TooManyPixels:
        image.close()
        raise
    return image


def check_pixels(image: Image.Image, max_pixels: int) -> None:
    """Raises TooManyPixels."""
    if image.width * image.height > max_pixels:
        raise TooManyPixels
