"""Runway's error responses and failed tasks."""

from typing import Any

from sandbox.fake_provider.outcomes import CannedResponse, Outcome

CREDITS_PER_SECOND = {"gen4.5": 12, "veo3.1": 20}
DEFAULT_CREDITS_PER_SECOND = 5
"""Of all other models."""


def error_response(
    status: int, text: str, *, headers: dict[str, str] | None = None
) -> CannedResponse:
    return CannedResponse(status, {"error": text}, headers or {})


UNAUTHORIZED = error_response(401, "The API key is not valid.")
NO_VERSION = error_response(400, "The X-Runway-Version header is missing or not supported.")
NOT_FOUND = error_response(404, "Task not found")
SERVER_ERROR = error_response(500, "Internal server error")

SUBMIT_ERRORS = {
    Outcome.SUBMIT_403_BALANCE: error_response(
        400, "You do not have enough credits to run this task."
    ),
    Outcome.SUBMIT_500: error_response(500, "Internal server error"),
    Outcome.SUBMIT_503: error_response(503, "The service is temporarily unavailable."),
    Outcome.SUBMIT_429: error_response(429, "Too many requests", headers={"Retry-After": "1"}),
}


def failed_task(text: str, code: str, *, is_charged: bool) -> CannedResponse:
    """A failed task. Its failure code names the cause."""
    return CannedResponse(200, {"failure": text, "failureCode": code, "is_charged": is_charged})


FAILURES = {
    Outcome.ERROR: failed_task(
        "An unexpected error occurred.", "INTERNAL.BAD_OUTPUT.CODE01", is_charged=False
    ),
    Outcome.CONTENT_POLICY: failed_task(
        "The text prompt did not pass our moderation.", "SAFETY.INPUT.TEXT", is_charged=True
    ),
    Outcome.INVALID_INPUT: failed_task(
        "The input asset could not be used.", "ASSET.INVALID", is_charged=False
    ),
    Outcome.CANCELLED: CannedResponse(200, {"is_charged": False}),
    Outcome.ABORTED: CannedResponse(200, {"is_charged": False}),
}


def credits_for(model: str, seconds: int) -> int:
    return CREDITS_PER_SECOND.get(model, DEFAULT_CREDITS_PER_SECOND) * seconds


def cost_of(credits: int, response: CannedResponse | None) -> dict[str, Any]:
    """Return the cost of a finished task. 0 if Runway does not charge for it."""
    return {"credits": credits if response is None or response.body["is_charged"] else 0}
