"""Input and output of fal's models.

A model makes images if its id does not contain "video" and names an image model family (`flux`,
`recraft`, …) or ends in an image (`…/text-to-image`). Every other model makes a video.
"""

import re
from collections.abc import Mapping
from typing import Any

from sandbox.fake_provider.specs import EditSpec, ImageSpec, Spec, VideoSpec, size_for_ratio

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
KEYFRAME_MODELS = ("first-last-frame-to-video",)
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


class InvalidInput(Exception):
    """`detail` is the error list that fal's models return with 422."""

    def __init__(self, detail: list[dict[str, Any]]) -> None:
        super().__init__(detail)
        self.detail = detail


def makes_images(model: str) -> bool:
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
        width, height = _parse_image_size(arguments)
        return tuple(ImageSpec(prompt, width, height, number) for number in range(count))
    width, height = size_for_ratio(_parse_ratio(arguments))
    first, last = (
        (_parse_url(arguments, "first_frame_url"), _parse_url(arguments, "last_frame_url"))
        if _is_one_of(model, KEYFRAME_MODELS)
        else ("", "")
    )
    seconds = _parse_seconds(arguments)
    return (VideoSpec(prompt, seconds, width, height, first_url=first, last_url=last),)


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
    has_mask = model.endswith(("/fill", "/inpaint"))
    return EditSpec(
        prompt,
        _parse_url(arguments, "image_url"),
        _parse_url(arguments, "mask_url") if has_mask else "",
        _parse_ratio(arguments) if "aspect_ratio" in arguments else None,
        number=number,
    )


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
