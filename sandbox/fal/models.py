"""Input and output of fal's models.

A model makes images if its id does not contain "video" and names an image model family (`flux`,
`recraft`, …) or ends in an image (`…/text-to-image`). Trainers are listed. Every other model makes
a video.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.fake_provider.specs import (
    ConfigSpec,
    EditSpec,
    ImageSpec,
    Spec,
    VideoSpec,
    WeightsSpec,
    size_for_ratio,
)

IMAGE_MODEL_FAMILIES = (
    "to-image",
    "flux",
    "recraft",
    "imagen",
    "ideogram",
    "seedream",
    "stable-diffusion",
    "nano-banana",
    "gpt-image",
    "qwen-image",
    "upscale/image",
)
# Models that return one `image` instead of `images`.
SINGLE_IMAGE_MODELS = ("upscale/image",)
EDIT_MODELS = ("/kontext", "/fill", "/edit", "/inpaint")
# Models with a mask: the name of the field, and the part of the mask that changes the image. fal
# does not state it for the last two: these are the conventions of Ideogram's and OpenAI's own APIs.
MASKS = {
    "/fill": ("mask_url", "white"),
    "/inpaint": ("mask_url", "white"),
    "ideogram/v3/edit": ("mask_url", "black"),
    "gpt-image-1.5/edit": ("mask_image_url", "transparent"),
}
# Models that take a list of images, of which one is used here.
IMAGE_LIST_MODELS = ("gpt-image-1.5/edit", "flux-2/klein/9b/edit")
KEYFRAME_MODELS = ("first-last-frame-to-video",)
# Models that load weights that a user trained, with the base family that these must be of.
WEIGHTS_FAMILIES = {"fal-ai/flux-lora": "flux-1-dev", "fal-ai/flux-2/lora": "flux-2"}
MAX_SCALE = 4
TARGET_SIDES = {"720p": 720, "1080p": 1080, "1440p": 1440, "2160p": 2160}

DEFAULT_RATIO = (16, 9)
MAX_ASPECT_RATIO = 4
MAX_SECONDS = 60
MAX_IMAGES = 4

# Width and height in pixels.
IMAGE_SIZES = {
    "square": (512, 512),
    "square_hd": (1024, 1024),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
MIN_SIDE, MAX_SIDE = 64, 4096
# Pixels of the long side, for models that take an aspect ratio.
LONG_SIDES = {"1K": 1024, "2K": 2048, "4K": 4096}


@dataclass(frozen=True)
class Trainer:
    """The fields of a trainer's input (@fal-ai/client 1.10.1, types/endpoints.d.ts)."""

    base_family: str
    steps: int
    """The default."""
    zip_field: str = "images_data_url"
    trigger_field: str = "trigger_phrase"
    min_pictures: int = 1
    needs_caption: bool = False


TRAINERS = {
    "fal-ai/flux-lora-fast-training": Trainer(
        "flux-1-dev", 1000, trigger_field="trigger_word", min_pictures=4
    ),
    "fal-ai/flux-lora-portrait-trainer": Trainer("flux-1-dev", 2500, min_pictures=10),
    "fal-ai/turbo-flux-trainer": Trainer("flux-1-dev", 1000),
    "fal-ai/flux-2-trainer": Trainer(
        "flux-2", 1000, zip_field="image_data_url", trigger_field="", needs_caption=True
    ),
}


class InvalidInput(Exception):
    """`detail` is the error list that fal's models return with 422."""

    def __init__(self, detail: list[dict[str, Any]]) -> None:
        super().__init__(detail)
        self.detail = detail


def makes_images(model: str) -> bool:
    """Of a model that is no trainer."""
    return "video" not in model and any(family in model for family in IMAGE_MODEL_FAMILIES)


def app_id(model: str) -> str | None:
    """Return the part of a model id that is in request URLs. None for an unknown model."""
    parts = model.split("/")
    length = 3 if parts[0] in ("workflows", "comfy") else 2
    return "/".join(parts[:length]) if len(parts) >= length and all(parts) else None


def parse_specs(model: str, arguments: Mapping[str, Any]) -> tuple[Spec, ...]:
    """Parse the specs of the results. Raises InvalidInput, which the model reports after
    acceptance."""
    if _is_one_of(model, SINGLE_IMAGE_MODELS):
        return (_parse_upscale(arguments),)
    if trainer := TRAINERS.get(model):
        return _parse_training(trainer, arguments)
    prompt = arguments.get("prompt")
    if not isinstance(prompt, str):
        raise InvalidInput([invalid_field("prompt", "missing", "Field required", arguments)])
    _require_text_and_seed(arguments)
    if makes_images(model):
        count = arguments.get("num_images", 1)
        if type(count) is not int or not 1 <= count <= MAX_IMAGES:
            raise InvalidInput([invalid_choice("num_images", range(1, MAX_IMAGES + 1), count)])
        if model.endswith(EDIT_MODELS):
            return tuple(_parse_edit(model, prompt, arguments, number) for number in range(count))
        size, weights_url = _parse_image_size(arguments), _parse_weights_url(model, arguments)
        family = WEIGHTS_FAMILIES.get(model, "")
        return tuple(
            ImageSpec(prompt, *size, number, weights_url, family) for number in range(count)
        )
    width, height = size_for_ratio(_parse_ratio(arguments))
    first, last = (
        (_parse_url(arguments, "first_frame_url"), _parse_url(arguments, "last_frame_url"))
        if _is_one_of(model, KEYFRAME_MODELS)
        else ("", "")
    )
    seconds = _parse_seconds(arguments)
    return (VideoSpec(prompt, seconds, width, height, first_url=first, last_url=last),)


def _parse_training(trainer: Trainer, arguments: Mapping[str, Any]) -> tuple[Spec, ...]:
    texts = {name: arguments.get(name, "") for name in (trainer.trigger_field, "default_caption")}
    for name, text in texts.items():
        if not isinstance(text, str):
            message = "Input should be a valid string"
            raise InvalidInput([invalid_field(name, "str_type", message, text)])
    steps = arguments.get("steps", trainer.steps)
    if type(steps) is not int or steps < 1:
        message = "Input should be greater than or equal to 1"
        raise InvalidInput([invalid_field("steps", "greater_than_equal", message, steps)])
    trigger_word = texts[trainer.trigger_field]
    weights = WeightsSpec(
        _parse_url(arguments, trainer.zip_field),
        # A model that is trained with captions alone learns their words.
        trigger_word or texts["default_caption"],
        steps,
        trainer.base_family,
        trainer.min_pictures,
        trainer.needs_caption,
        texts["default_caption"],
    )
    return weights, ConfigSpec(trigger_word, steps)


def _parse_weights_url(model: str, arguments: Mapping[str, Any]) -> str:
    """The first of `loras`. "" if there is none, or the model ignores them."""
    given = arguments.get("loras", [])
    if model not in WEIGHTS_FAMILIES or given == []:
        return ""
    first = given[0] if isinstance(given, list) else None
    path, scale = (first.get("path"), first.get("scale", 1)) if isinstance(first, dict) else ("", 1)
    is_scale = type(scale) in (int, float) and 0 <= scale <= MAX_SCALE
    if not isinstance(path, str) or not path or not is_scale:
        raise InvalidInput([invalid_field("loras", "value_error", "Invalid LoRA weights", given)])
    return path


def _is_one_of(model: str, families: tuple[str, ...]) -> bool:
    return any(family in model for family in families)


def returns_single_image(model: str) -> bool:
    return _is_one_of(model, SINGLE_IMAGE_MODELS)


def _parse_url(arguments: Mapping[str, Any], name: str) -> str:
    given = arguments.get(name)
    if not isinstance(given, str) or not given:
        raise InvalidInput([invalid_field(name, "missing", "Field required", arguments)])
    return given


def _parse_edit(model: str, prompt: str, arguments: Mapping[str, Any], number: int) -> EditSpec:
    mask_field, changes = next(
        (mask for family, mask in MASKS.items() if model.endswith(family)), ("", "white")
    )
    return EditSpec(
        prompt,
        _parse_first_url(arguments, "image_urls")
        if model.endswith(IMAGE_LIST_MODELS)
        else _parse_url(arguments, "image_url"),
        _parse_url(arguments, mask_field) if mask_field else "",
        changes,
        _parse_ratio(arguments) if "aspect_ratio" in arguments else None,
        _parse_image_size(arguments) if "image_size" in arguments else None,
        number=number,
    )


def _parse_first_url(arguments: Mapping[str, Any], name: str) -> str:
    given = arguments.get(name)
    first = given[0] if isinstance(given, list) and given else None
    return _parse_url({name: first}, name)


def _parse_upscale(arguments: Mapping[str, Any]) -> EditSpec:
    target = arguments.get("target_resolution", "1080p")
    if arguments.get("upscale_mode") != "target" or target not in TARGET_SIDES:
        raise InvalidInput([invalid_choice("target_resolution", TARGET_SIDES, target)])
    return EditSpec("", _parse_url(arguments, "image_url"), short_side=TARGET_SIDES[target])


def _require_text_and_seed(arguments: Mapping[str, Any]) -> None:
    for name, kind, words in (("negative_prompt", str, "string"), ("seed", int, "integer")):
        if type(given := arguments.get(name, kind())) is not kind:
            message = f"Input should be a valid {words}"
            raise InvalidInput([invalid_field(name, f"{kind.__name__}_type", message, given)])


def invalid_field(name: str, error_type: str, message: str, given: Any) -> dict[str, Any]:
    return {"loc": ["body", name], "msg": message, "type": error_type, "input": given}


def invalid_choice(name: str, expected: Any, given: Any) -> dict[str, Any]:
    choices = list(expected)
    message = f"Input should be one of {', '.join(map(str, choices))}"
    return {**invalid_field(name, "one_of", message, given), "ctx": {"expected": choices}}


def _parse_seconds(arguments: Mapping[str, Any]) -> int:
    """Sora's models take 8, Veo's "8s". Either may be omitted."""
    given = arguments.get("duration", 5)
    text = str(given) if type(given) is int else given
    match = re.fullmatch(r"(\d{1,3})s?", text) if isinstance(text, str) else None
    if match is None or not 1 <= int(match[1]) <= MAX_SECONDS:
        raise InvalidInput([invalid_choice("duration", (4, 6, 8, 10, 12), given)])
    return int(match[1])


def _parse_ratio(arguments: Mapping[str, Any]) -> tuple[int, int]:
    given = arguments.get("aspect_ratio", "auto")
    if given == "auto":
        return DEFAULT_RATIO
    match = re.fullmatch(r"(\d{1,2}):(\d{1,2})", given) if isinstance(given, str) else None
    ratio = (int(match[1]), int(match[2])) if match else (0, 0)
    if not min(ratio) or max(ratio) > MAX_ASPECT_RATIO * min(ratio):
        raise InvalidInput([invalid_choice("aspect_ratio", ("auto", "16:9", "9:16", "1:1"), given)])
    return ratio


def _parse_image_size(arguments: Mapping[str, Any]) -> tuple[int, int]:
    given = arguments.get("image_size")
    if given is None:
        ratio, resolution = _parse_ratio(arguments), arguments.get("resolution", "1K")
        if resolution not in LONG_SIDES:
            raise InvalidInput([invalid_choice("resolution", LONG_SIDES, resolution)])
        width, height = (LONG_SIDES[resolution] * side // max(ratio) for side in ratio)
        return width, height
    if isinstance(given, dict):
        sides = [side for side in (given.get("width"), given.get("height")) if type(side) is int]
        if (
            len(sides) == 2
            and min(sides) >= MIN_SIDE
            and max(sides) <= min(MAX_SIDE, MAX_ASPECT_RATIO * min(sides))
        ):
            return sides[0], sides[1]
    elif given in IMAGE_SIZES:
        return IMAGE_SIZES[given]
    raise InvalidInput([invalid_choice("image_size", IMAGE_SIZES, given)])
