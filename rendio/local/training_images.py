"""Images that a trainer accepts: sharp, well lit, each unlike the others."""

import random
from io import BytesIO

from PIL import Image, ImageDraw

SIZE_PX = (640, 640)
SHAPES = 60


def draw_images(count: int) -> list[bytes]:
    """JPEG files."""
    return [_jpeg(draw_image(seed)) for seed in range(count)]


def draw_image(seed: int, size: tuple[int, int] = SIZE_PX) -> Image.Image:
    """Soft colours with hard edges on them."""
    chance = random.Random(seed)  # noqa: S311
    width, height = size
    image = Image.frombytes("RGB", (6, 6), chance.randbytes(108)).resize(size)
    draw = ImageDraw.Draw(image)
    for _ in range(SHAPES):
        left, top = chance.randrange(width), chance.randrange(height)
        draw.rectangle(
            (left, top, left + width // 19, top + height // 27), fill=tuple(chance.randbytes(3))
        )
    return image


def _jpeg(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()
