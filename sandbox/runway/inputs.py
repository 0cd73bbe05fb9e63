"""Validation of Runway's input, at the creation of a task."""

import re
from collections.abc import Mapping
from typing import Any

from sandbox.fake_provider.specs import VideoSpec, size_for_ratio

MAX_PROMPT_LENGTH = 1000
"""In UTF-16 units, as JavaScript counts."""

MAX_SECONDS = 10
RATIO = re.compile(r"(\d{3,4}):(\d{3,4})")


class InvalidTask(Exception):
    """The message names the invalid field. Returned with 400."""


def parse_spec(body: Mapping[str, Any], *, needs_image: bool) -> VideoSpec:
    """Raises InvalidTask."""
    prompt, seconds, ratio = body.get("promptText", ""), body.get("duration", 5), body.get("ratio")
    if not isinstance(body.get("model"), str):
        raise InvalidTask("model")
    if not isinstance(prompt, str) or not (prompt or needs_image):
        raise InvalidTask("promptText")
    if len(prompt.encode("utf-16-le", "surrogatepass")) > 2 * MAX_PROMPT_LENGTH:
        raise InvalidTask("promptText")
    if needs_image and not body.get("promptImage"):
        raise InvalidTask("promptImage")
    if type(seconds) is not int or not 2 <= seconds <= MAX_SECONDS:
        raise InvalidTask("duration")
    size = RATIO.fullmatch(str(ratio))
    if size is None:
        raise InvalidTask("ratio")
    width, height = size_for_ratio((int(size[1]), int(size[2])))
    return VideoSpec(prompt, seconds, width, height)
