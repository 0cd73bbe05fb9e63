"""What predictions and trainings have in common: accept, read and cancel."""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.connections import Connections, DroppedResponse, NoResponse
from sandbox.fake_provider.jobs import Job
from sandbox.fake_provider.outcomes import CannedResponse, Outcome
from sandbox.fake_provider.specs import VideoSpec, WeightsSpec
from sandbox.replicate.provider import ReplicateProvider
from sandbox.replicate.responses import (
    FAILURES,
    NOT_FOUND,
    SERVER_ERROR,
    SUBMIT_ERRORS,
    UNAUTHORIZED,
)

FILES_PREFIX = "/replicate/files"
UNKNOWN_STATUS = "warming"


class ReplicateResource(ABC):
    path: str

    def __init__(self, *, replicate: ReplicateProvider, connections: Connections) -> None:
        self._replicate = replicate
        self._connections = connections

    @abstractmethod
    async def as_json(self, job: Job) -> dict[str, Any]: ...

    async def created_json(self, job: Job) -> dict[str, Any]:
        """The response to the creation."""
        return await self.as_json(job)

    def routes(self) -> list[Route]:
        return [
            Route(self.path + "/{job_id}", self.get, methods=["GET"]),
            Route(self.path + "/{job_id}/cancel", self.cancel, methods=["POST"]),
        ]

    async def accept(
        self,
        request: Request,
        *,
        model: str,
        order: dict[str, Any],
        spec: VideoSpec | WeightsSpec,
    ) -> Response:
        """Run a valid order as its scenario says."""
        scenario = self._replicate.scenarios.next_for(model)
        if error := SUBMIT_ERRORS.get(scenario.outcome):
            return to_response(error)
        if scenario.outcome is Outcome.SUBMIT_TIMEOUT:
            return NoResponse()
        if scenario.outcome is Outcome.WEIGHTS_MISSING and isinstance(spec, WeightsSpec):
            spec = replace(spec, is_without_weights=True)
        wants_completed = "completed" in order.get("webhook_events_filter", ["completed"])
        job = self._replicate.accept(
            Job(
                model=model,
                app=model,
                input=order["input"],
                scenario=scenario,
                webhook_url=order.get("webhook") if wants_completed else None,
                files_url=f"{request.url.scheme}://{request.url.netloc}{FILES_PREFIX}",
                failure=FAILURES.get(scenario.outcome),
                specs=(spec,),
                destination=order.get("destination", ""),
            )
        )
        if scenario.outcome is Outcome.SUBMIT_LOST:
            return DroppedResponse(self._connections)
        return JSONResponse(await self.created_json(job), status_code=201)

    async def get(self, request: Request) -> Response:
        job = self._find(request)
        if isinstance(job, CannedResponse):
            return to_response(job)
        match job.take_read_fault():
            case Outcome.STATUS_500:
                return to_response(SERVER_ERROR)
            case Outcome.RESULT_404:
                return to_response(NOT_FOUND)
            case Outcome.STATUS_UNKNOWN:
                return JSONResponse({**await self.as_json(job), "status": UNKNOWN_STATUS})
        return JSONResponse(await self.as_json(job))

    async def cancel(self, request: Request) -> Response:
        job = self._find(request)
        if isinstance(job, CannedResponse):
            return to_response(job)
        self._replicate.cancel(job)
        return JSONResponse(await self.as_json(job))

    def _find(self, request: Request) -> Job | CannedResponse:
        if not is_authenticated(request):
            return UNAUTHORIZED
        return self._replicate.jobs.find(request.path_params["job_id"]) or NOT_FOUND


async def parse_order(request: Request) -> dict[str, Any]:
    """The body of a creation. {} if it has no `input`."""
    try:
        body = await request.json()
    except ValueError:
        return {}
    is_order = isinstance(body, dict) and isinstance(body.get("input"), dict)
    return body if is_order else {}


def is_authenticated(request: Request) -> bool:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and bool(key.strip())


def to_response(response: CannedResponse) -> JSONResponse:
    return JSONResponse(response.body, status_code=response.status, headers=dict(response.headers))
