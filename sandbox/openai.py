"""OpenAI's moderation endpoint: it flags what it was told to flag, and nothing else.

A list of texts is judged text by text, a list of parts as one; pictures count in the categories
that are for pictures alone.
"""

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sandbox.connections import NoAnswer
from sandbox.strict_body import Fields

MODELS = (
    "omni-moderation-latest",
    "omni-moderation-2024-09-26",
    "text-moderation-latest",
    "text-moderation-stable",
)
PICTURE_CATEGORIES = (
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
    *PICTURE_CATEGORIES,
)
PICTURE_ADDRESSES = ("https://", "data:image/")


@dataclass
class Plan:
    """What is flagged, and how it answers from now on."""

    flag: tuple[str, ...] = ()
    flag_images: bool = False
    category: str = "violence"
    status: int | None = None
    hang: bool = False
    garbage: bool = False


class OpenAI:
    def __init__(self) -> None:
        self._plan = Plan()

    def reset(self) -> None:
        self._plan = Plan()

    def routes(self) -> list[Route]:
        return [Route("/openai/v1/moderations", self.moderations, methods=["POST"])]

    def configure(self, fields: Fields) -> dict[str, Any]:
        """Fields left out are as after a reset."""
        fields.allow_only(Plan.__dataclass_fields__)
        self._plan = Plan(
            flag=tuple(word.lower() for word in fields.find_texts("flag") or ()),
            flag_images=fields.find_flag("flag_images") or False,
            category=fields.find_choice("category", CATEGORIES) or Plan.category,
            status=fields.find_count("status", least=400, most=599),
            hang=fields.find_flag("hang") or False,
            garbage=fields.find_flag("garbage") or False,
        )
        return vars(self._plan)

    async def moderations(self, request: Request) -> Response:
        if self._plan.hang:
            return NoAnswer()
        if self._plan.status is not None:
            return _error(self._plan.status, "The server had an error.")
        if self._plan.garbage:
            return PlainTextResponse("<html>")
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not key:
            return _error(401, "You didn't provide an API key.")
        try:
            body = await request.json()
            model = body.get("model", MODELS[0])
            judged = [self._judge(parts) for parts in _inputs(body["input"])]
        except (ValueError, KeyError, TypeError, AttributeError):
            return _error(400, "'input' is not of the right form.")
        if model not in MODELS:
            return _error(404, f"The model {model!r} does not exist.")
        return JSONResponse({"id": "modr-sandbox", "model": model, "results": judged})

    def _judge(self, parts: list[dict[str, Any]]) -> dict[str, Any]:
        """The one result for these parts."""
        flagged_by = {kind for kind, content in map(_read, parts) if self._objects(kind, content)}
        kinds = {kind for kind, _ in map(_read, parts)}
        flagged = {name: name == self._plan.category and bool(flagged_by) for name in CATEGORIES}
        return {
            "flagged": bool(flagged_by),
            "categories": flagged,
            "category_scores": {name: 0.98 if hit else 0.0001 for name, hit in flagged.items()},
            "category_applied_input_types": {
                name: sorted(kinds if name in PICTURE_CATEGORIES else kinds - {"image"})
                for name in CATEGORIES
            },
        }

    def _objects(self, kind: str, content: str) -> bool:
        if kind == "image":
            return self._plan.flag_images and self._plan.category in PICTURE_CATEGORIES
        return any(word in content.lower() for word in self._plan.flag)


def _inputs(given: Any) -> list[list[dict[str, Any]]]:
    """The parts of each result to come. Raises TypeError."""
    if isinstance(given, str):
        return [[{"type": "text", "text": given}]]
    if all(isinstance(one, str) for one in given):
        return [[{"type": "text", "text": one}] for one in given]
    return [given]


def _read(part: dict[str, Any]) -> tuple[str, str]:
    """("text" or "image", the text or the address). Raises KeyError, TypeError, ValueError."""
    if part["type"] == "text":
        return "text", str(part["text"])
    address = part["image_url"]["url"]
    if part["type"] != "image_url" or not address.startswith(PICTURE_ADDRESSES):
        raise ValueError
    return "image", address


def _error(status: int, message: str) -> JSONResponse:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return JSONResponse({"error": error}, status_code=status)
