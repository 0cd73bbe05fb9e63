"""OpenRouter's chat completions, for requests with a JSON schema.

The answer repeats the user's message in other words. `/control/openrouter` makes requests fail.
"""

import asyncio
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sandbox.connections import NoResponse
from sandbox.strict_body import BadRequest, StrictBody

COST_USD = 0.00031
MAX_MODELS = 3
FIELDS = {
    "model", "models", "messages", "max_completion_tokens", "temperature", "user", "provider",
    "response_format", "stream",
}  # fmt: skip


class Outcome(StrEnum):
    OK = "ok"
    # The first model fails, and the next one answers.
    FALLBACK = "fallback"
    # 200, with an error or without a usable answer. The tokens are charged.
    ERROR_IN_200 = "error_in_200"
    ERROR_IN_CHOICE = "error_in_choice"
    CUT = "cut"
    CONTENT_FILTER = "content_filter"
    EMPTY = "empty"
    NOT_JSON = "not_json"
    OTHER_SHAPE = "other_shape"
    # The answer has no `usage`.
    NO_COST = "no_cost"
    # No answer of any model, and no charge.
    NO_CREDIT = "no_credit"
    MODERATED = "moderated"
    RATE_LIMITED = "rate_limited"
    DOWN = "down"
    GARBAGE = "garbage"
    HANG = "hang"
    # White space, as OpenRouter sends it while a model works, and no end.
    DRIP = "drip"


ERRORS = {
    Outcome.NO_CREDIT: (402, "Insufficient credits"),
    Outcome.MODERATED: (403, "Your chosen model requires moderation and your input was flagged"),
    Outcome.RATE_LIMITED: (429, "Rate limit exceeded"),
    Outcome.DOWN: (503, "No available model provider meets your routing requirements"),
}


@dataclass
class Behaviour:
    outcome: Outcome = Outcome.OK
    prompt: str | None = None
    """The improved prompt. None: the draft in other words."""


class OpenRouter:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._behaviour = Behaviour()

    def routes(self) -> list[Route]:
        path = "/openrouter/api/v1/chat/completions"
        return [Route(path, self.chat_completions, methods=["POST"])]

    def configure(self, fields: StrictBody) -> dict[str, Any]:
        """Fields that are omitted have their defaults."""
        fields.allow_only(Behaviour.__dataclass_fields__)
        self._behaviour = Behaviour(
            outcome=Outcome(fields.find_choice("outcome", list(Outcome)) or Outcome.OK),
            prompt=fields.find_text("prompt"),
        )
        return vars(self._behaviour)

    async def chat_completions(self, request: Request) -> Response:
        outcome = self._behaviour.outcome
        if outcome is Outcome.HANG:
            return NoResponse()
        if outcome is Outcome.DRIP:
            return DrippingResponse()
        if outcome is Outcome.GARBAGE:
            return PlainTextResponse("<html>")
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not key:
            return _error_response(401, "No auth credentials found")
        if outcome in ERRORS:
            return _error_response(*ERRORS[outcome])
        try:
            models, draft = _parse(await StrictBody.parse(request))
        except BadRequest as problem:
            return _error_response(400, str(problem))
        model = models[1 if outcome is Outcome.FALLBACK and len(models) > 1 else 0]
        return JSONResponse(self._completion(model, draft))

    def _completion(self, model: str, draft: str) -> dict[str, Any]:
        outcome = self._behaviour.outcome
        usage: dict[str, Any] = {"prompt_tokens": 210, "completion_tokens": 80, "total_tokens": 290}
        if outcome is not Outcome.NO_COST:
            usage["cost"] = COST_USD
        body: dict[str, Any] = {
            "id": "gen-sandbox",
            "object": "chat.completion",
            "created": 1_795_000_000,
            "model": model,
            "choices": [self._choice(draft)],
            "usage": usage,
        }
        if outcome is Outcome.ERROR_IN_200:
            body["error"] = {"code": 502, "message": "Provider returned error"}
        return body

    def _choice(self, draft: str) -> dict[str, Any]:
        outcome = self._behaviour.outcome
        prompt = self._behaviour.prompt or f"{draft}, in soft light, the camera moves slowly"
        answer = {"prompt": prompt, "changes": ["Added light.", "Added a camera movement."]}
        content = json.dumps(answer)
        finish_reason = "stop"
        match outcome:
            case Outcome.EMPTY:
                content = ""
            case Outcome.NOT_JSON:
                content = f"Here is your prompt: {prompt}"
            case Outcome.OTHER_SHAPE:
                content = json.dumps({"text": prompt})
            case Outcome.CUT:
                content, finish_reason = content[:20], "length"
            case Outcome.CONTENT_FILTER:
                content, finish_reason = "", "content_filter"
            case Outcome.ERROR_IN_CHOICE:
                content, finish_reason = "", "error"
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": content},
            "finish_reason": finish_reason,
            "native_finish_reason": finish_reason,
        }
        if outcome is Outcome.ERROR_IN_CHOICE:
            choice["error"] = {"code": 502, "message": "Provider returned error"}
        return choice


class DrippingResponse(Response):
    """A space each quarter of a second, for as long as the client listens."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        disconnected = asyncio.ensure_future(_wait_for_disconnect(receive))
        while not disconnected.done():
            await send({"type": "http.response.body", "body": b" ", "more_body": True})
            await asyncio.wait([disconnected], timeout=0.25)


async def _wait_for_disconnect(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _parse(fields: StrictBody) -> tuple[list[str], str]:
    """Return the models in order and the user's message. Raises BadRequest.

    Stricter than OpenRouter, which ignores unknown fields.
    """
    fields.allow_only(FIELDS)
    models = fields.find_texts("models") or []
    if model := fields.find_text("model"):
        models = [model, *models]
    if not models or len(models) > MAX_MODELS or not all("/" in name for name in models):
        raise BadRequest(f"models must be 1 to {MAX_MODELS} names like vendor/model.")
    fields.find_count("max_completion_tokens", minimum=16)
    shape = fields.find_object("response_format") or {}
    schema = shape.get("json_schema", {})
    if (
        shape.get("type") != "json_schema"
        or len(schema.get("name", "")) not in range(1, 65)
        or schema.get("strict") is not True
        or schema.get("schema", {}).get("additionalProperties") is not False
    ):
        raise BadRequest("response_format must be a strict json_schema.")
    if not (fields.find_object("provider") or {}).get("require_parameters"):
        raise BadRequest("Without require_parameters a model may ignore response_format.")
    return models, _parse_user_message(fields)


def _parse_user_message(fields: StrictBody) -> str:
    """Raises BadRequest."""
    messages = fields.get_list("messages")
    if not all(
        isinstance(message, dict)
        and message.get("role") in ("system", "user", "assistant")
        and isinstance(message.get("content"), str)
        for message in messages
    ):
        raise BadRequest("messages must be objects with role and content.")
    texts = [message["content"] for message in messages if message["role"] == "user"]
    if not texts:
        raise BadRequest("messages has no message of the user.")
    return str(texts[-1])


def _error_response(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": status, "message": message}}, status_code=status)
