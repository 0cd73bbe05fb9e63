"""Runway's words for each way a task can fail or be refused."""

from typing import Any

from sandbox.fake_provider.outcomes import Answer, Outcome

CREDITS_A_SECOND = {"gen4.5": 12, "veo3.1": 20}
SOME_CREDITS_A_SECOND = 5
"""Of every other model."""


def refused(status: int, text: str, *, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, {"error": text}, headers or {})


UNAUTHORIZED = refused(401, "The API key is not valid.")
NO_VERSION = refused(400, "The X-Runway-Version header is missing or not supported.")
NOT_FOUND = refused(404, "Task not found")
UNREADABLE = refused(500, "Internal server error")

SUBMIT_REFUSALS = {
    Outcome.SUBMIT_403_BALANCE: refused(400, "You do not have enough credits to run this task."),
    Outcome.SUBMIT_500: refused(500, "Internal server error"),
    Outcome.SUBMIT_503: refused(503, "The service is temporarily unavailable."),
    Outcome.SUBMIT_429: refused(429, "Too many requests", headers={"Retry-After": "1"}),
}


def failed(text: str, code: str, *, is_charged: bool) -> Answer:
    """A task that has failed; its code says whose fault it is."""
    return Answer(200, {"failure": text, "failureCode": code, "is_charged": is_charged})


FAILURES = {
    Outcome.ERROR: failed(
        "An unexpected error occurred.", "INTERNAL.BAD_OUTPUT.CODE01", is_charged=False
    ),
    Outcome.CONTENT_POLICY: failed(
        "The text prompt did not pass our moderation.", "SAFETY.INPUT.TEXT", is_charged=True
    ),
    Outcome.INVALID_INPUT: failed(
        "The input asset could not be used.", "ASSET.INVALID", is_charged=False
    ),
    Outcome.CANCELLED: Answer(200, {"is_charged": False}),
    Outcome.ABORTED: Answer(200, {"is_charged": False}),
}


def credits_for(model: str, seconds: int) -> int:
    return CREDITS_A_SECOND.get(model, SOME_CREDITS_A_SECOND) * seconds


def cost_of(credits: int, answer: Answer | None) -> dict[str, Any]:
    """What a task that has ended takes: nothing where Runway gives it back."""
    return {"credits": credits if answer is None or answer.body["is_charged"] else 0}
