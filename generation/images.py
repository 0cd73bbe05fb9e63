"""Opening images from outside, and their transparency. The header gives the pixel count, which is
checked before decoding.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image

# Pillow's own limit only logs a warning. Every caller here passes a limit of its own.
Image.MAX_IMAGE_PIXELS = None


class TooManyPixels(Exception):
    """The image has more pixels than the caller allows."""


def open_image(source: Path | BytesIO, *, formats: tuple[str, ...], max_pixels: int) -> Image.Image:
    """Open an image and read only its header. The caller closes it.

    Raises TooManyPixels, and Pillow's exceptions for content that is no image of these formats.
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


def is_transparent(image: Image.Image) -> bool:
    """Whether any pixel is. Many providers send an opaque image with an alpha channel."""
    if not image.has_transparency_data:
        return False
    lowest, _ = image.convert("RGBA").getchannel("A").getextrema()
    return lowest < 255  # type: ignore[operator]


def flatten(image: Image.Image, *, background: str) -> Image.Image:
    """Return the image in RGB, its transparent parts on the colour of this name."""
    image = image if image.mode == "RGBA" else image.convert("RGBA")
    flat = Image.new("RGB", image.size, background)
    flat.paste(image, mask=image.getchannel("A"))
    return flat
