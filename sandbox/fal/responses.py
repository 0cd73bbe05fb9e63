"""fal's exact error responses."""

from typing import Any

from sandbox.fake_provider.outcomes import CannedResponse, Outcome


def status_fields(failure: CannedResponse) -> dict[str, str]:
    """Return the fields of a failure in the queue's status. Errors of the model itself are not in
    it."""
    if isinstance(failure.body.get("error_type"), str):
        return {"error": failure.body["detail"], "error_type": failure.body["error_type"]}
    return {}


def request_error(status: int, error_type: str, text: str) -> CannedResponse:
    """An error of fal's infrastructure, or before the model was reached. Never billed."""
    return CannedResponse(
        status,
        {"detail": text, "error_type": error_type},
        {
            "X-Fal-Error-Type": error_type,
            "X-Fal-Needs-Retry": "false",
            "X-Fal-Retryable": "false",
            "X-Fal-Billable-Units": "0",
        },
    )


def model_error(*errors: dict[str, Any], billable_units: int) -> CannedResponse:
    """An error of the model itself."""
    return CannedResponse(
        422,
        {
            "detail": [
                {**error, "url": f"https://docs.fal.ai/errors#{error['type']}"} for error in errors
            ]
        },
        {
            "X-Fal-Needs-Retry": "false",
            "X-Fal-Retryable": "false",
            "X-Fal-Billable-Units": str(billable_units),
        },
    )


UNAUTHORIZED = CannedResponse(
    401, {"detail": "Authentication is required to access this application."}
)
NOT_FOUND = CannedResponse(404, {"status": "NOT_FOUND"})
STILL_RUNNING = CannedResponse(400, {"detail": "Request is still in progress"})
NOT_JSON = request_error(400, "bad_request", "The request body must be a JSON object.")
CANCELLED = request_error(499, "client_cancelled", "The request was cancelled by the client.")
STATUS_FAILED = request_error(500, "internal_error", "The status could not be read.")
RESULT_FAILED = request_error(500, "internal_error", "The result could not be read.")
START_TIMED_OUT = request_error(504, "request_timeout", "The request did not start in time.")
RUN_FAILED = request_error(500, "runner_server_error", "The runner failed while it generated.")
QUEUE_FULL = CannedResponse(
    429,
    {"detail": "Too many requests are waiting.", "error_type": "concurrent_requests_limit"},
    {
        "Retry-After": "1",
        "X-Fal-Error-Type": "concurrent_requests_limit",
        "X-Fal-Needs-Retry": "1",
    },
)

SUBMIT_ERRORS = {
    Outcome.SUBMIT_403_BALANCE: CannedResponse(
        403,
        {
            "detail": "User is locked. Reason: Exhausted balance. "
            "Top up your balance at fal.ai/dashboard/billing."
        },
    ),
    Outcome.SUBMIT_500: request_error(500, "internal_error", "Internal server error"),
    Outcome.SUBMIT_503: request_error(
        503, "runner_scheduling_failure", "No runner could be scheduled"
    ),
    Outcome.SUBMIT_429: QUEUE_FULL,
}


def application_not_found(name: str) -> CannedResponse:
    return CannedResponse(404, {"detail": f'Application "{name}" not found'})


def source_not_downloaded(message: str) -> CannedResponse:
    return model_error(
        {
            "loc": ["body"],
            "msg": f"Failed to download a file: {message}",
            "type": "file_download_error",
            "input": None,
        },
        billable_units=0,
    )


def content_policy_violation(prompt: object) -> CannedResponse:
    # A runner had already processed the input, which fal may bill.
    return model_error(
        {
            "loc": ["body", "prompt"],
            "msg": "The content could not be processed because it contained material flagged by a "
            "content checker.",
            "type": "content_policy_violation",
            "input": prompt,
        },
        billable_units=1,
    )
