"""Results that are made from a customer's images, which are downloaded as a provider does."""

import io
from functools import lru_cache

from PIL import Image, ImageOps

from sandbox.fake_provider.downloads import UnusableSource, fetch_bytes
from sandbox.fake_provider.specs import EditSpec, VideoSpec

QUALITY = 95
# Of an edit over the image, so that both can be recognized.
EDIT_OPACITY = 0.5


@lru_cache(maxsize=16)
def fetch(url: str) -> Image.Image:
    """Download an image. Raises UnusableSource."""
    try:
        image = Image.open(io.BytesIO(fetch_bytes(url)))
        image.load()
    except (OSError, ValueError) as error:
        raise UnusableSource(str(error)) from error
    return image


def edit(spec: EditSpec, layer: Image.Image) -> Image.Image:
    """The image of `spec`, changed. `layer` is the new content, of any size."""
    source = fetch(spec.image_url).convert("RGB")
    if spec.mask_url:
        mask = fetch(spec.mask_url)
        if mask.size != source.size:
            raise UnusableSource("the mask has another size than the image")
        return Image.composite(layer.resize(source.size), source, _changed(mask, spec))
    if spec.short_side:
        scale = spec.short_side / min(source.size)
        return source.resize((round(source.width * scale), round(source.height * scale)))
    if spec.size:
        source = ImageOps.fit(source, spec.size)
    elif spec.ratio:
        width, height = spec.ratio
        long_side = max(source.size)
        size = (long_side * width // max(spec.ratio), long_side * height // max(spec.ratio))
        source = ImageOps.fit(source, size)
    return Image.blend(source, layer.resize(source.size), EDIT_OPACITY)


def _changed(mask: Image.Image, spec: EditSpec) -> Image.Image:
    """White where the image changes."""
    if spec.mask_changes == "transparent":
        if not mask.has_transparency_data:
            raise UnusableSource("the mask has no transparent part")
        return ImageOps.invert(mask.convert("RGBA").getchannel("A"))
    grey = mask.convert("L")
    return ImageOps.invert(grey) if spec.mask_changes == "black" else grey


def keyframes(spec: VideoSpec) -> tuple[Image.Image, Image.Image]:
    """The first and the last frame, in the size of the video."""
    size = (spec.width, spec.height)
    first, last = (
        ImageOps.fit(fetch(url).convert("RGB"), size) for url in (spec.first_url, spec.last_url)
    )
    return first, last
