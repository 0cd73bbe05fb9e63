"""What Runway's models take: checked when the task is created."""

import re
from collections.abc import Mapping
from typing import Any

from sandbox.fake_provider.specs import VideoSpec, size_of

LONGEST_PROMPT = 1000
"""In UTF-16 units, as JavaScript counts."""

LONGEST_SECONDS = 10
RATIO = re.compile(r"(\d{3,4}):(\d{3,4})")


class InvalidTask(Exception):
    """The message names the field; it is answered with 400."""


def spec_of(body: Mapping[str, Any], *, needs_image: bool) -> VideoSpec:
    """Raises InvalidTask."""
    prompt, seconds, ratio = body.get("promptText", ""), body.get("duration", 5), body.get("ratio")
    if not isinstance(body.get("model"), str):
        raise InvalidTask("model")
    if not isinstance(prompt, str) or not (prompt or needs_image):
        raise InvalidTask("promptText")
    if len(prompt.encode("utf-16-le", "surrogatepass")) > 2 * LONGEST_PROMPT:
        raise InvalidTask("promptText")
    if needs_image and not body.get("promptImage"):
        raise InvalidTask("promptImage")
    if type(seconds) is not int or not 2 <= seconds <= LONGEST_SECONDS:
        raise InvalidTask("duration")
    size = RATIO.fullmatch(str(ratio))
    if size is None:
        raise InvalidTask("ratio")
    width, height = size_of((int(size[1]), int(size[2])))
    return VideoSpec(prompt, seconds, width, height)
