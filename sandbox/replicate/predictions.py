"""api.replicate.com: create, read and cancel predictions; the webhooks' secret."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.connections import Connections, DroppedResponse, NoResponse
from sandbox.fake_provider.jobs import Job
from sandbox.fake_provider.outcomes import CannedResponse, Outcome
from sandbox.fake_provider.provider import FakeProvider
from sandbox.fake_provider.specs import parse_video_spec
from sandbox.replicate.prediction_json import prediction_json
from sandbox.replicate.responses import (
    FAILURES,
    NO_VERSION,
    NOT_FOUND,
    SERVER_ERROR,
    SUBMIT_ERRORS,
    UNAUTHORIZED,
    error_response,
)
from sandbox.replicate.webhooks import SECRET

FILES_PREFIX = "/replicate/files"
UNKNOWN_STATUS = "warming"


class ReplicatePredictions:
    def __init__(self, *, replicate: FakeProvider, connections: Connections) -> None:
        self._replicate = replicate
        self._connections = connections

    def routes(self) -> list[Route]:
        path = "/replicate/v1/predictions"
        return [
            Route(path, self.create, methods=["POST"]),
            Route(path + "/{prediction_id}", self.get, methods=["GET"]),
            Route(path + "/{prediction_id}/cancel", self.cancel, methods=["POST"]),
            Route("/replicate/v1/webhooks/default/secret", self.secret, methods=["GET"]),
        ]

    async def create(self, request: Request) -> Response:
        if not _is_authenticated(request):
            return _to_response(UNAUTHORIZED)
        try:
            body = await request.json()
            version, arguments = body["version"], body["input"]
        except (ValueError, TypeError, KeyError):
            return _to_response(NO_VERSION)
        if not (isinstance(version, str) and isinstance(arguments, dict)):
            return _to_response(NO_VERSION)
        spec = parse_video_spec(arguments)
        if spec is None:
            return _to_response(
                error_response(422, "Input validation failed", "- input: prompt is required")
            )

        scenario = self._replicate.scenarios.next_for(version)
        if error := SUBMIT_ERRORS.get(scenario.outcome):
            return _to_response(error)
        if scenario.outcome is Outcome.SUBMIT_TIMEOUT:
            return NoResponse()
        wants_completed = "completed" in body.get("webhook_events_filter", ["completed"])
        job = self._replicate.accept(
            Job(
                model=version,
                app=version,
                input=arguments,
                scenario=scenario,
                webhook_url=body.get("webhook") if wants_completed else None,
                files_url=f"{request.url.scheme}://{request.url.netloc}{FILES_PREFIX}",
                failure=FAILURES.get(scenario.outcome),
                specs=(spec,),
            )
        )
        if scenario.outcome is Outcome.SUBMIT_LOST:
            return DroppedResponse(self._connections)
        return JSONResponse(prediction_json(job), status_code=201)

    async def get(self, request: Request) -> Response:
        job = self._find(request)
        if isinstance(job, CannedResponse):
            return _to_response(job)
        match job.take_read_fault():
            case Outcome.STATUS_500:
                return _to_response(SERVER_ERROR)
            case Outcome.RESULT_404:
                return _to_response(NOT_FOUND)
            case Outcome.STATUS_UNKNOWN:
                return JSONResponse({**prediction_json(job), "status": UNKNOWN_STATUS})
        return JSONResponse(prediction_json(job))

    async def cancel(self, request: Request) -> Response:
        job = self._find(request)
        if isinstance(job, CannedResponse):
            return _to_response(job)
        self._replicate.cancel(job)
        return JSONResponse(prediction_json(job))

    async def secret(self, request: Request) -> Response:
        if not _is_authenticated(request):
            return _to_response(UNAUTHORIZED)
        return JSONResponse({"key": SECRET})

    def _find(self, request: Request) -> Job | CannedResponse:
        if not _is_authenticated(request):
            return UNAUTHORIZED
        return self._replicate.jobs.find(request.path_params["prediction_id"]) or NOT_FOUND


def _is_authenticated(request: Request) -> bool:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and bool(key.strip())


def _to_response(response: CannedResponse) -> JSONResponse:
    return JSONResponse(response.body, status_code=response.status, headers=dict(response.headers))
