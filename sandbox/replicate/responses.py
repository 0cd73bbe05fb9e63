"""Replicate's error responses and failed predictions."""

from sandbox.fake_provider.outcomes import CannedResponse, Outcome


def error_response(status: int, title: str, detail: str, **headers: str) -> CannedResponse:
    header_names = {name.replace("_", "-"): value for name, value in headers.items()}
    return CannedResponse(
        status, {"title": title, "detail": detail, "status": status}, header_names
    )


UNAUTHORIZED = error_response(
    401, "Unauthenticated", "You did not pass a valid authentication token"
)
NOT_FOUND = error_response(404, "Not found", "The requested resource could not be found.")
SERVER_ERROR = error_response(500, "Internal server error", "Something went wrong.")
NO_VERSION = error_response(422, "Invalid version or not permitted", "The version does not exist.")

SUBMIT_ERRORS = {
    Outcome.SUBMIT_403_BALANCE: error_response(
        402, "Insufficient credit", "You have insufficient credit to run this model."
    ),
    Outcome.SUBMIT_500: SERVER_ERROR,
    Outcome.SUBMIT_503: error_response(503, "Service unavailable", "Please try again."),
    Outcome.SUBMIT_429: error_response(
        429, "Too many requests", "Request was throttled.", Retry_After="1"
    ),
    Outcome.INVALID_INPUT: error_response(
        422, "Input validation failed", "- input.duration: Must be one of 4, 6, 8"
    ),
}
FAILURES = {
    Outcome.CANCELLED: CannedResponse(200, {}),
    Outcome.ABORTED: CannedResponse(200, {}),
    Outcome.ERROR: CannedResponse(
        200, {"error": "Director: unexpected error handling prediction (E8765)"}
    ),
    Outcome.CONTENT_POLICY: CannedResponse(
        200,
        {
            "error": "The input or output was flagged as sensitive. Please try again with "
            "different inputs. (E005)"
        },
    ),
}
