"""Replicate's words for each way a prediction can fail or be refused."""

from sandbox.fake_provider.outcomes import Answer, Outcome


def refused(status: int, title: str, detail: str, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"title": title, "detail": detail, "status": status}, named)


UNAUTHORIZED = refused(401, "Unauthenticated", "You did not pass a valid authentication token")
NOT_FOUND = refused(404, "Not found", "The requested resource could not be found.")
UNREADABLE = refused(500, "Internal server error", "Something went wrong.")
NO_VERSION = refused(422, "Invalid version or not permitted", "The version does not exist.")

SUBMIT_REFUSALS = {
    Outcome.SUBMIT_403_BALANCE: refused(
        402, "Insufficient credit", "You have insufficient credit to run this model."
    ),
    Outcome.SUBMIT_500: UNREADABLE,
    Outcome.SUBMIT_503: refused(503, "Service unavailable", "Please try again."),
    Outcome.SUBMIT_429: refused(
        429, "Too many requests", "Request was throttled.", Retry_After="1"
    ),
    Outcome.INVALID_INPUT: refused(
        422, "Input validation failed", "- input.duration: Must be one of 4, 6, 8"
    ),
}
FAILURES = {
    Outcome.CANCELLED: Answer(200, {}),
    Outcome.ABORTED: Answer(200, {}),
    Outcome.ERROR: Answer(200, {"error": "Director: unexpected error handling prediction (E8765)"}),
    Outcome.CONTENT_POLICY: Answer(
        200,
        {
            "error": "The input or output was flagged as sensitive. Please try again with "
            "different inputs. (E005)"
        },
    ),
}
