"""Modal's front and the app behind it: submit, read and cancel calls. Every model exists.

Modal itself checks the credentials, and answers in plain text. The rest is the app.
"""

from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from sandbox.connections import Connections, DroppedResponse, NoResponse
from sandbox.fake_provider.jobs import Job, Status
from sandbox.fake_provider.outcomes import CannedResponse, Outcome
from sandbox.fake_provider.provider import FakeProvider
from sandbox.fake_provider.specs import parse_video_spec
from sandbox.modal.call_json import FAILURES, call_json

FILES_PREFIX = "/modal/files"
UNKNOWN_STATUS = "warming"
CALL_PARAMETER = "__modal_function_call_id"
"""The parameter that Modal adds to the address of a redirect."""

UNAUTHORIZED = "modal-http: missing credentials for proxy authorization"
NOT_AN_ORDER = CannedResponse(
    422, {"error": "model, input and webhook: a text, an object and an address"}
)
NOT_FOUND = CannedResponse(404, {"error": "no such call"})

SUBMIT_ERRORS = {
    # No answer for a spent budget is documented, only this one for missing credentials.
    Outcome.SUBMIT_403_BALANCE: PlainTextResponse(UNAUTHORIZED, 401),
    Outcome.SUBMIT_500: PlainTextResponse("modal-http: internal error", 500),
    Outcome.SUBMIT_503: PlainTextResponse("modal-http: no container is available", 503),
    Outcome.SUBMIT_429: PlainTextResponse(
        "modal-http: too many requests", 429, headers={"Retry-After": "1"}
    ),
}


class ModalCalls:
    def __init__(self, *, modal: FakeProvider, connections: Connections) -> None:
        self._modal = modal
        self._connections = connections

    def routes(self) -> list[Route]:
        return [
            Route("/modal/submit", self.submit, methods=["POST"]),
            Route("/modal/submit", self.submitted, methods=["GET"]),
            Route("/modal/result/{call_id}", self.result, methods=["GET"]),
            Route("/modal/cancel/{call_id}", self.cancel, methods=["POST"]),
        ]

    async def submit(self, request: Request) -> Response:
        if not _is_authenticated(request):
            return PlainTextResponse(UNAUTHORIZED, 401)
        try:
            body = await request.json()
            model, arguments, webhook = body["model"], body["input"], body["webhook"]
        except (ValueError, TypeError, KeyError):
            return _to_response(NOT_AN_ORDER)
        if not (
            isinstance(model, str) and isinstance(arguments, dict) and isinstance(webhook, str)
        ):
            return _to_response(NOT_AN_ORDER)
        if earlier := self._find_by_webhook(webhook):
            return JSONResponse({"id": earlier.request_id})

        scenario = self._modal.scenarios.next_for(model)
        if error := SUBMIT_ERRORS.get(scenario.outcome):
            return error
        if scenario.outcome is Outcome.SUBMIT_TIMEOUT:
            return NoResponse()
        spec = parse_video_spec(arguments)
        failure = None if spec else FAILURES[Outcome.INVALID_INPUT]
        job = self._modal.accept(
            Job(
                model=model,
                app=model,
                input=arguments,
                scenario=scenario,
                webhook_url=webhook,
                files_url=f"{request.url.scheme}://{request.url.netloc}{FILES_PREFIX}",
                failure=FAILURES.get(scenario.outcome, failure),
                specs=(spec,) if spec else (),
                request_id=f"fc-{uuid4().hex}",
            )
        )
        if scenario.outcome is Outcome.SUBMIT_LOST:
            return DroppedResponse(self._connections)
        if scenario.outcome is Outcome.SUBMIT_REDIRECT:
            address = request.url.include_query_params(**{CALL_PARAMETER: job.request_id})
            return RedirectResponse(str(address), status_code=303)
        return JSONResponse({"id": job.request_id})

    async def submitted(self, request: Request) -> Response:
        """The answer to a call that took too long. Starts nothing."""
        if not _is_authenticated(request):
            return PlainTextResponse(UNAUTHORIZED, 401)
        job = self._modal.jobs.find(request.query_params.get(CALL_PARAMETER, ""))
        return JSONResponse({"id": job.request_id}) if job else _to_response(NOT_FOUND)

    async def result(self, request: Request) -> Response:
        job = self._find(request)
        if isinstance(job, Response):
            return job
        match job.take_read_fault():
            case Outcome.STATUS_500:
                return SUBMIT_ERRORS[Outcome.SUBMIT_500]
            case Outcome.RESULT_404:
                return _to_response(NOT_FOUND)
            case Outcome.STATUS_UNKNOWN:
                return JSONResponse({**call_json(job), "status": UNKNOWN_STATUS})
        return _call_response(job)

    async def cancel(self, request: Request) -> Response:
        """Cancel a queued or running call. A finished call stays as it is."""
        job = self._find(request)
        if isinstance(job, Response):
            return job
        if job.status is not Status.COMPLETED:
            job.cancel()
        return _call_response(job)

    def _find(self, request: Request) -> Job | Response:
        if not _is_authenticated(request):
            return PlainTextResponse(UNAUTHORIZED, 401)
        job = self._modal.jobs.find(request.path_params["call_id"])
        return job or _to_response(NOT_FOUND)

    def _find_by_webhook(self, webhook: str) -> Job | None:
        jobs = self._modal.jobs.all()
        return next((job for job in jobs if job.webhook_url == webhook), None)


def _call_response(job: Job) -> Response:
    is_finished = job.status is Status.COMPLETED
    return JSONResponse(call_json(job), status_code=200 if is_finished else 202)


def _is_authenticated(request: Request) -> bool:
    return bool(request.headers.get("modal-key") and request.headers.get("modal-secret"))


def _to_response(response: CannedResponse) -> JSONResponse:
    return JSONResponse(response.body, status_code=response.status)
