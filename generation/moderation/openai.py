"""OpenAI's moderation endpoint (OpenAI: API reference, Moderations).

One image per call: OpenAI does not document whether more are allowed. Images are checked for
violence, sexual content and self-harm only; the other categories apply to texts.
"""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

from django.conf import settings
from PIL import Image

from generation.moderation.base import Content, Flag, ImageContent, Moderator, ModeratorUnavailable
from generation.providers.parsing import dict_or_empty
from rendio.common.outbound import http

# OpenAI downscales images anyway, and accepts at most 20 MB.
MAX_SIDE_PIXELS = 768


class OpenAI(Moderator):
    name = "openai"
    third_party = "openai"

    def check(self, content: Content) -> Flag | None:
        # http.request may take the connect timeout and twice the read timeout.
        timeout = settings.MODERATION_TIMEOUT_SECONDS / 3
        try:
            response = http.request(
                "POST",
                f"{settings.OPENAI_URL}/v1/moderations",
                headers={"Authorization": f"Bearer {settings.OPENAI_API_KEY}"},
                json={"model": settings.OPENAI_MODERATION_MODEL, "input": [_as_input(content)]},
                timeout=(timeout, timeout),
            )
        except (http.NotSent, http.NoAnswer) as error:
            raise ModeratorUnavailable(str(error)) from error
        if not response.ok:
            raise ModeratorUnavailable(f"status {response.status}")
        categories = _parse_flagged_categories(response.json())
        return Flag(self.name, categories) if categories else None


def _as_input(content: Content) -> dict[str, Any]:
    if isinstance(content, ImageContent):
        data = base64.b64encode(_shrink(content.jpeg)).decode()
        return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}
    return {"type": "text", "text": content.text}


def _shrink(jpeg: bytes) -> bytes:
    max_size = (MAX_SIDE_PIXELS, MAX_SIDE_PIXELS)
    with Image.open(BytesIO(jpeg), formats=("JPEG",)) as image:
        # The decoder downscales while decoding: of 50 megapixels not even one is ever in memory.
        image.draft("RGB", max_size)
        image.thumbnail(max_size)
        out = BytesIO()
        image.save(out, "JPEG", quality=85)
    return out.getvalue()


def _parse_flagged_categories(body: Any) -> tuple[str, ...]:
    """Return the flagged categories, except OPENAI_ALLOWED_CATEGORIES.

    Raises ModeratorUnavailable for an unexpected response.
    """
    results = dict_or_empty(body).get("results")
    if not isinstance(results, list) or not results:
        raise ModeratorUnavailable("no results")
    flagged: set[str] = set()
    for result in map(dict_or_empty, results):
        if not isinstance(result.get("flagged"), bool):
            raise ModeratorUnavailable("no verdict")
        if result["flagged"]:
            categories = dict_or_empty(result.get("categories"))
            flagged |= {str(name)[:40] for name, hit in categories.items() if hit is True} or {
                "unspecified"
            }
    return tuple(sorted(flagged - set(settings.OPENAI_ALLOWED_CATEGORIES)))
