"""OpenAI's moderation endpoint. Flags only the words that `/control/moderation` set.

A list of texts gets a result for each text, a list of parts gets one result. Images are flagged in
the image categories only.
"""

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sandbox.connections import NoResponse
from sandbox.strict_body import StrictBody

MODELS = (
    "omni-moderation-latest",
    "omni-moderation-2024-09-26",
    "text-moderation-latest",
    "text-moderation-stable",
)
IMAGE_CATEGORIES = (
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "violence",
    "violence/graphic",
)
CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "sexual/minors",
    *IMAGE_CATEGORIES,
)
IMAGE_URL_PREFIXES = ("https://", "data:image/")


@dataclass
class Behaviour:
    """The flagged inputs, and the endpoint's behaviour."""

    flag: tuple[str, ...] = ()
    flag_images: bool = False
    category: str = "violence"
    status: int | None = None
    hang: bool = False
    garbage: bool = False


class OpenAI:
    def __init__(self) -> None:
        self._behaviour = Behaviour()

    def reset(self) -> None:
        self._behaviour = Behaviour()

    def routes(self) -> list[Route]:
        return [Route("/openai/v1/moderations", self.moderations, methods=["POST"])]

    def configure(self, fields: StrictBody) -> dict[str, Any]:
        """Fields that are omitted have their defaults."""
        fields.allow_only(Behaviour.__dataclass_fields__)
        self._behaviour = Behaviour(
            flag=tuple(word.lower() for word in fields.find_texts("flag") or ()),
            flag_images=fields.find_flag("flag_images") or False,
            category=fields.find_choice("category", CATEGORIES) or Behaviour.category,
            status=fields.find_count("status", minimum=400, maximum=599),
            hang=fields.find_flag("hang") or False,
            garbage=fields.find_flag("garbage") or False,
        )
        return vars(self._behaviour)

    async def moderations(self, request: Request) -> Response:
        if self._behaviour.hang:
            return NoResponse()
        if self._behaviour.status is not None:
            return _error_response(self._behaviour.status, "The server had an error.")
        if self._behaviour.garbage:
            return PlainTextResponse("<html>")
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not key:
            return _error_response(401, "You didn't provide an API key.")
        try:
            body = await request.json()
            model = body.get("model", MODELS[0])
            results = [self._moderate(parts) for parts in _parse_inputs(body["input"])]
        except (ValueError, KeyError, TypeError, AttributeError):
            return _error_response(400, "'input' is not of the right form.")
        if model not in MODELS:
            return _error_response(404, f"The model {model!r} does not exist.")
        return JSONResponse({"id": "modr-sandbox", "model": model, "results": results})

    def _moderate(self, parts: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the single result for these parts."""
        flagged_by = {
            kind for kind, content in map(_parse_part, parts) if self._is_flagged(kind, content)
        }
        kinds = {kind for kind, _ in map(_parse_part, parts)}
        flagged = {
            name: name == self._behaviour.category and bool(flagged_by) for name in CATEGORIES
        }
        return {
            "flagged": bool(flagged_by),
            "categories": flagged,
            "category_scores": {name: 0.98 if hit else 0.0001 for name, hit in flagged.items()},
            "category_applied_input_types": {
                name: sorted(kinds if name in IMAGE_CATEGORIES else kinds - {"image"})
                for name in CATEGORIES
            },
        }

    def _is_flagged(self, kind: str, content: str) -> bool:
        if kind == "image":
            return self._behaviour.flag_images and self._behaviour.category in IMAGE_CATEGORIES
        return any(word in content.lower() for word in self._behaviour.flag)


def _parse_inputs(value: Any) -> list[list[dict[str, Any]]]:
    """Return the parts for each result. Raises TypeError."""
    if isinstance(value, str):
        return [[{"type": "text", "text": value}]]
    if all(isinstance(text, str) for text in value):
        return [[{"type": "text", "text": text}] for text in value]
    return [value]


def _parse_part(part: dict[str, Any]) -> tuple[str, str]:
    """Return the kind, "text" or "image", and the text or URL. Raises KeyError, TypeError,
    ValueError."""
    if part["type"] == "text":
        return "text", str(part["text"])
    address = part["image_url"]["url"]
    if part["type"] != "image_url" or not address.startswith(IMAGE_URL_PREFIXES):
        raise ValueError
    return "image", address


def _error_response(status: int, message: str) -> JSONResponse:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return JSONResponse({"error": error}, status_code=status)
