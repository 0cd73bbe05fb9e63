"""The kinds of generation: for each, its inputs, what it is priced by, and what it makes.

What differs between providers is the data of their routes: names and values of parameters,
constants, limits, costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from generation.models import ModelKind
from generation.providers.base import MediaKind

# The setting with the number of outputs. A model without the setting makes one output.
NUM_OUTPUTS = "num_outputs"
MAX_OUTPUTS = 4
# Fields of an order with source images, and names of the parameters that routes map them to.
SOURCE_IMAGES = ("image_url",)


@dataclass(frozen=True)
class Kind:
    """`media` is what it makes; `images` are its source images (SOURCE_IMAGES), all required."""

    name: ModelKind
    media: MediaKind
    images: tuple[str, ...] = ()

    @property
    def required_fields(self) -> tuple[str, ...]:
        return ("prompt", *self.images)

    @property
    def queue(self) -> str:
        """The Celery queue. Images are quick and must not wait behind videos."""
        return "medium" if self.media == "image" else "low"


KINDS = {
    kind.name: kind
    for kind in (
        Kind(ModelKind.TEXT_TO_VIDEO, "video"),
        Kind(ModelKind.IMAGE_TO_VIDEO, "video", images=("image_url",)),
        Kind(ModelKind.TEXT_TO_IMAGE, "image"),
    )
}


def num_outputs(chosen: Mapping[str, Any]) -> int:
    """How many files an order with these settings is for."""
    return int(chosen.get(NUM_OUTPUTS, 1))
