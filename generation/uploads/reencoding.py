"""Re-encoding of uploaded images.

The content decides the format; the file name and media type of the request are ignored. The result
is a new JPEG made from the pixels: upright, in sRGB, transparency on white. No metadata of the
original survives: no location, camera, comment or thumbnail, and nothing hidden in them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import TypeVar

import structlog
from django.conf import settings
from django.utils.translation import gettext as _
from PIL import ExifTags, Image, ImageCms
from pillow_heif import register_heif_opener

from generation.errors import InvalidFile, UploadsUnavailable
from generation.images import TooManyPixels, check_pixels, flatten, open_image
from generation.uploads.containers import InvalidContainer, validate_container

T = TypeVar("T")
logger = structlog.get_logger(__name__)

register_heif_opener()
FORMATS = ("JPEG", "PNG", "WEBP", "HEIF")
QUALITY = 90
# Of 255: the brightness from which a mask is white.
WHITE_FROM = 128
# One image at a time in each process: 50 megapixels take about 500 MB, as WebP 1 GB.
_decoder_slot = threading.BoundedSemaphore(1)
DECODER_WAIT_SECONDS = 10

_TRANSPOSE_BY_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class ReencodedImage:
    """The re-encoded image."""

    jpeg: bytes
    width: int
    height: int


def reencode(content: bytes) -> ReencodedImage:
    """Decode an image and encode it as a new JPEG.

    Raises InvalidFile with the problem in its details, UploadsUnavailable if other images occupy
    the decoder for DECODER_WAIT_SECONDS.
    """
    return decode(content, encode_jpeg)


def decode(content: bytes, use: Callable[[Image.Image], T]) -> T:
    """Decode an image and return what `use` makes of it: upright, in sRGB, transparency on white.
    Raises like `reencode`."""
    return _decode(content, use, background="white")


def reencode_mask(content: bytes, *, size: tuple[int, int]) -> bytes:
    """Decode a mask and encode it as a new PNG of 8 bits: black and white, of the image's `size`.

    What is light is white; transparent parts are black. A mask of other dimensions is scaled, if
    its shape is the image's. Raises like `reencode`; InvalidFile also for another shape, and for a
    mask that marks nothing.
    """
    return _decode(content, partial(_encode_mask, size=size), background="black")


def encode_jpeg(image: Image.Image) -> ReencodedImage:
    out = BytesIO()
    image.save(out, "JPEG", quality=QUALITY)
    return ReencodedImage(out.getvalue(), image.width, image.height)


def _encode_mask(image: Image.Image, *, size: tuple[int, int]) -> bytes:
    width, height = size
    # Within a pixel of the smaller one, as rounding leaves it.
    if abs(image.width * height - image.height * width) > max(*size, *image.size):
        raise InvalidFile(problem=_("not of the image's shape"))
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    mask = image.convert("L").point(lambda value: 255 if value >= WHITE_FROM else 0)
    if mask.getbbox() is None:
        raise InvalidFile(problem=_("a mask that marks nothing"))
    out = BytesIO()
    mask.save(out, "PNG")
    return out.getvalue()


def _decode(content: bytes, encode: Callable[[Image.Image], T], *, background: str) -> T:
    """Encode what the content shows, transparent parts on the colour `background`."""
    if not _decoder_slot.acquire(timeout=DECODER_WAIT_SECONDS):
        raise UploadsUnavailable
    try:
        return encode(_decode_upright(content, background=background))
    except InvalidFile:
        raise
    except TooManyPixels:
        raise InvalidFile(problem=_("too many pixels")) from None
    except InvalidContainer:
        raise InvalidFile(problem=_("incomplete, or with data after the image")) from None
    except Exception as error:
        # Decoders raise exceptions without a common base class for malicious content.
        logger.info("upload_unreadable", error=type(error).__name__)
        raise InvalidFile(problem=_("not an image, or damaged")) from error
    finally:
        _decoder_slot.release()


def _decode_upright(content: bytes, *, background: str) -> Image.Image:
    """The image upright, in sRGB, its transparent parts on `background`, without metadata."""
    max_pixels = settings.MAX_UPLOAD_PIXELS
    with open_image(BytesIO(content), formats=FORMATS, max_pixels=max_pixels) as image:
        if image.format in {"PNG", "WEBP"} and getattr(image, "is_animated", False):
            raise InvalidFile(problem=_("animated"))
        validate_container(content, str(image.format))
        image.load()
        check_pixels(image, max_pixels)
        transpose = _TRANSPOSE_BY_ORIENTATION.get(_orientation(image))
        output = _to_srgb(image, background=background)
    if transpose is not None:
        output = output.transpose(transpose)
    output.info.clear()  # or Pillow would copy the comment
    return output


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        # Unreadable metadata is ignored. It is dropped in any case.
        return 1


def _to_srgb(image: Image.Image, *, background: str) -> Image.Image:
    """Convert to sRGB with three channels. Without its colour profile an iPhone's image would look
    pale.

    Works in place where possible: a copy of 50 megapixels takes 200 MB.
    """
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I"):
        image = image.point(lambda value: value / 256).convert("L")
    if image.has_transparency_data:
        image = flatten(image, background=background)
    if profile and image.mode in {"RGB", "CMYK", "L"}:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            image = (
                ImageCms.profileToProfile(
                    image, source, _SRGB, outputMode="RGB", inPlace=image.mode == "RGB"
                )
                or image
            )
        except (ImageCms.PyCMSError, OSError):
            logger.info("colour_profile_unreadable")
    return image if image.mode == "RGB" else image.convert("RGB")


_SRGB = ImageCms.createProfile("sRGB")
