"""Images that a trainer accepts: sharp, well lit, each unlike the others."""

import random
from io import BytesIO

from PIL import Image, ImageDraw

SIDE_PX = 640
SHAPES = 60


def draw_images(count: int) -> list[bytes]:
    """JPEGs of soft colours with hard edges on them."""
    return [_draw(seed) for seed in range(count)]


def _draw(seed: int) -> bytes:
    chance = random.Random(seed)  # noqa: S311
    image = Image.frombytes("RGB", (6, 6), chance.randbytes(108)).resize((SIDE_PX, SIDE_PX))
    draw = ImageDraw.Draw(image)
    for _ in range(SHAPES):
        left, top = chance.randrange(SIDE_PX), chance.randrange(SIDE_PX)
        draw.rectangle(
            (left, top, left + SIDE_PX // 19, top + SIDE_PX // 27),
            fill=tuple(chance.randbytes(3)),
        )
    file = BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()
