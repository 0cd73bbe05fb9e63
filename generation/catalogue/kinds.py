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
# Source images, by the names of the parameters that routes map them to, with the field of an order
# that has the image.
SOURCE_IMAGES = {
    "image_url": "image_url",
    "mask_url": "mask_upload_id",
    "last_image_url": "last_upload_id",
}
# The setting of a trainer that its price depends on.
STEPS = "steps"
# The parameter of a route with the weights of a trained model.
WEIGHTS_URL = "weights_url"
# The parameters of a trainer's route besides its settings: the zip file with the images, the word
# that stands for what they show, a description of each image, and the name of the provider's copy.
TRAINING_INPUTS = ("images_zip_url", "trigger_word", "default_caption", "destination")


@dataclass(frozen=True)
class Kind:
    """`media` is what it makes; `images` are its source images (SOURCE_IMAGES), all required and at
    most two."""

    name: ModelKind
    media: MediaKind
    images: tuple[str, ...] = ()
    needs_prompt: bool = True

    @property
    def is_training(self) -> bool:
        """Ordered by `train/start` only."""
        return self.media == "weights"

    @property
    def required_fields(self) -> tuple[str, ...]:
        """Of an order."""
        return (*self._prompt, *(SOURCE_IMAGES[name] for name in self.images))

    @property
    def required_parameters(self) -> tuple[str, ...]:
        """Of a route."""
        zip_file = TRAINING_INPUTS[:1] if self.is_training else ()
        return (*self._prompt, *self.images, *zip_file)

    @property
    def _prompt(self) -> tuple[str, ...]:
        return ("prompt",) if self.needs_prompt else ()

    @property
    def second_image(self) -> str:
        """The parameter of the image besides the first one: the mask, or the last keyframe. "" if
        there is none."""
        return self.images[1] if len(self.images) > 1 else ""

    @property
    def has_mask(self) -> bool:
        return self.second_image == "mask_url"

    @property
    def queue(self) -> str:
        """The Celery queue. Images are quick and must not wait behind videos."""
        return "medium" if self.media == "image" else "low"


KINDS = {
    kind.name: kind
    for kind in (
        Kind(ModelKind.TEXT_TO_VIDEO, "video"),
        Kind(ModelKind.IMAGE_TO_VIDEO, "video", images=("image_url",)),
        Kind(ModelKind.KEYFRAMES_TO_VIDEO, "video", images=("image_url", "last_image_url")),
        Kind(ModelKind.TEXT_TO_IMAGE, "image"),
        Kind(ModelKind.IMAGE_EDIT, "image", images=("image_url",)),
        Kind(ModelKind.INPAINT, "image", images=("image_url", "mask_url")),
        Kind(ModelKind.UPSCALE, "image", images=("image_url",), needs_prompt=False),
        Kind(ModelKind.TRAINING, "weights", needs_prompt=False),
    )
}


def num_outputs(chosen: Mapping[str, Any]) -> int:
    """How many files an order with these settings is for."""
    return int(chosen.get(NUM_OUTPUTS, 1))
