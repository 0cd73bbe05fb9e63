"""api.dev.runwayml.com: create, read and delete tasks."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.connections import Connections, DroppedResponse, NoResponse
from sandbox.fake_provider.jobs import Job, Status
from sandbox.fake_provider.outcomes import CannedResponse, Outcome
from sandbox.fake_provider.provider import FakeProvider
from sandbox.fake_provider.specs import VideoSpec
from sandbox.runway.inputs import InvalidTask, parse_spec
from sandbox.runway.responses import (
    FAILURES,
    NO_VERSION,
    NOT_FOUND,
    SERVER_ERROR,
    SUBMIT_ERRORS,
    UNAUTHORIZED,
    cost_of,
    credits_for,
    error_response,
)

FILES_PREFIX = "/runway/files"
API_VERSION = "2024-11-06"
UNKNOWN_STATUS = "WARMING_UP"


class RunwayTasks:
    def __init__(self, *, runway: FakeProvider, connections: Connections) -> None:
        self._runway = runway
        self._connections = connections

    def routes(self) -> list[Route]:
        return [
            Route("/runway/v1/text_to_video", self.create, methods=["POST"]),
            Route("/runway/v1/image_to_video", self.create, methods=["POST"]),
            Route("/runway/v1/tasks/{task_id}", self.get, methods=["GET"]),
            Route("/runway/v1/tasks/{task_id}", self.delete, methods=["DELETE"]),
        ]

    async def create(self, request: Request) -> Response:
        if rejection := _auth_error(request):
            return _to_response(rejection)
        try:
            body = await request.json()
            spec = parse_spec(body, needs_image=request.url.path.endswith("image_to_video"))
        except (ValueError, AttributeError):
            return _to_response(error_response(400, "The body is not a JSON object."))
        except InvalidTask as error:
            return _to_response(error_response(400, f"Validation of body failed: {error}"))

        scenario = self._runway.scenarios.next_for(body["model"])
        if rejection := SUBMIT_ERRORS.get(scenario.outcome):
            return _to_response(rejection)
        if scenario.outcome is Outcome.SUBMIT_TIMEOUT:
            return NoResponse()
        job = self._runway.accept(
            Job(
                model=body["model"],
                app=body["model"],
                input=body,
                scenario=scenario,
                webhook_url=None,
                files_url=f"{request.url.scheme}://{request.url.netloc}{FILES_PREFIX}",
                failure=FAILURES.get(scenario.outcome),
                specs=(spec,),
            )
        )
        if scenario.outcome is Outcome.SUBMIT_LOST:
            return DroppedResponse(self._connections)
        return JSONResponse({"id": job.request_id, "estimatedCost": {"credits": _credits(job)}})

    async def get(self, request: Request) -> Response:
        job = self._runway.jobs.find(request.path_params["task_id"])
        if rejection := _auth_error(request):
            return _to_response(rejection)
        if job is None:
            return _to_response(NOT_FOUND)
        is_finished = job.status is Status.COMPLETED
        match job.scenario.outcome:
            case Outcome.STATUS_500:
                return _to_response(SERVER_ERROR)
            case _ if job.is_result_unavailable:
                return _to_response(SERVER_ERROR)
            case Outcome.RESULT_404 if is_finished:
                return _to_response(NOT_FOUND)
        return JSONResponse(self._task(job))

    async def delete(self, request: Request) -> Response:
        """Cancel a running task or delete a finished one. Either way it cannot be read any more."""
        if rejection := _auth_error(request):
            return _to_response(rejection)
        if not self._runway.jobs.remove(request.path_params["task_id"]):
            return _to_response(NOT_FOUND)
        return Response(status_code=204)

    def _task(self, job: Job) -> dict[str, Any]:
        task = {"id": job.request_id, "createdAt": job.submitted_at.isoformat()}
        if job.scenario.outcome is Outcome.STATUS_UNKNOWN and not job.had_unknown_status:
            job.had_unknown_status = True
            return {**task, "status": UNKNOWN_STATUS}
        estimate = {"estimatedCost": {"credits": _credits(job)}}
        match job.status:
            case Status.IN_QUEUE:
                return {**task, "status": "PENDING", **estimate}
            case Status.IN_PROGRESS:
                return {**task, "status": "RUNNING", "progress": job.progress, **estimate}
        cost = {"cost": cost_of(_credits(job), job.failure)}
        if job.scenario.outcome in (Outcome.CANCELLED, Outcome.ABORTED):
            return {**task, "status": "CANCELLED", **cost}
        if job.failure:
            failure_fields = {name: job.failure.body[name] for name in ("failure", "failureCode")}
            return {**task, "status": "FAILED", **failure_fields, **cost}
        is_odd = job.scenario.outcome is Outcome.RESULT_ODD
        output = {"film": job.file_url()} if is_odd else [job.file_url()]
        return {**task, "status": "SUCCEEDED", "output": output, **cost}


def _credits(job: Job) -> int:
    (spec,) = job.specs
    assert isinstance(spec, VideoSpec)  # noqa: S101 (for the type checker)
    return credits_for(job.model, spec.seconds)


def _auth_error(request: Request) -> CannedResponse | None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        return UNAUTHORIZED
    return None if request.headers.get("x-runway-version") == API_VERSION else NO_VERSION


def _to_response(response: CannedResponse) -> JSONResponse:
    return JSONResponse(response.body, status_code=response.status, headers=dict(response.headers))
