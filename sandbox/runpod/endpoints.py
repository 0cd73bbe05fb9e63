"""api.runpod.ai/v2: run, read and cancel jobs of an endpoint. Every endpoint id exists."""

import asyncio
import time
from contextlib import suppress
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.connections import Connections, DroppedResponse, NoResponse
from sandbox.fake_provider.jobs import Job, Status
from sandbox.fake_provider.outcomes import CannedResponse, Outcome
from sandbox.fake_provider.provider import FakeProvider
from sandbox.fake_provider.specs import parse_video_spec
from sandbox.runpod.job_json import FAILURES, job_json

FILES_PREFIX = "/runpod/files"
UNKNOWN_STATUS = "WARMING_UP"
KEPT_SECONDS = 30 * 60
"""How long a finished job can be read."""
SYNC_SECONDS = 90
WORKERS = {"idle": 1, "running": 0}


def _error(status: int, text: str, **headers: str) -> CannedResponse:
    return CannedResponse(
        status, {"error": text}, {name.replace("_", "-"): value for name, value in headers.items()}
    )


UNAUTHORIZED = _error(401, "unauthorized")
NOT_FOUND = _error(404, "job not found")
NO_INPUT = _error(400, "missing input")
SERVER_ERROR = _error(500, "internal server error")
SUBMIT_ERRORS = {
    # No answer for an empty balance is documented, only this one for a key without access.
    Outcome.SUBMIT_403_BALANCE: UNAUTHORIZED,
    Outcome.SUBMIT_500: SERVER_ERROR,
    Outcome.SUBMIT_503: _error(503, "service unavailable"),
    Outcome.SUBMIT_429: _error(429, "too many requests", Retry_After="1"),
}


class RunpodEndpoints:
    def __init__(self, *, runpod: FakeProvider, connections: Connections) -> None:
        self._runpod = runpod
        self._connections = connections

    def routes(self) -> list[Route]:
        path = "/runpod/v2/{endpoint_id}"
        return [
            Route(path + "/run", self.run, methods=["POST"]),
            Route(path + "/runsync", self.run_sync, methods=["POST"]),
            Route(path + "/status/{job_id}", self.status, methods=["GET"]),
            Route(path + "/cancel/{job_id}", self.cancel, methods=["POST"]),
            Route(path + "/purge-queue", self.purge_queue, methods=["POST"]),
            Route(path + "/health", self.health, methods=["GET"]),
        ]

    async def run(self, request: Request) -> Response:
        job = await self._accept(request)
        if isinstance(job, Response):
            return job
        return JSONResponse({"id": job.request_id, "status": job_json(job)["status"]})

    async def run_sync(self, request: Request) -> Response:
        """Answer when the job has ended, or after SYNC_SECONDS with the unfinished job."""
        job = await self._accept(request)
        if isinstance(job, Response):
            return job
        with suppress(TimeoutError):
            await asyncio.wait_for(job.wait_until_ended(), SYNC_SECONDS)
        return JSONResponse(job_json(job))

    async def _accept(self, request: Request) -> Job | Response:
        endpoint_id = request.path_params["endpoint_id"]
        if not _is_authenticated(request):
            return _to_response(UNAUTHORIZED)
        try:
            body = await request.json()
            arguments = body["input"]
        except (ValueError, TypeError, KeyError):
            return _to_response(NO_INPUT)
        if not isinstance(arguments, dict):
            return _to_response(NO_INPUT)

        scenario = self._runpod.scenarios.next_for(endpoint_id)
        if error := SUBMIT_ERRORS.get(scenario.outcome):
            return _to_response(error)
        if scenario.outcome is Outcome.SUBMIT_TIMEOUT:
            return NoResponse()
        spec = parse_video_spec(arguments)
        failure = None if spec else FAILURES[Outcome.INVALID_INPUT]
        job = self._runpod.accept(
            Job(
                model=endpoint_id,
                app=endpoint_id,
                input=arguments,
                scenario=scenario,
                webhook_url=body.get("webhook"),
                files_url=f"{request.url.scheme}://{request.url.netloc}{FILES_PREFIX}",
                failure=FAILURES.get(scenario.outcome, failure),
                specs=(spec,) if spec else (),
                request_id=f"{uuid4()}-u1",
            )
        )
        return DroppedResponse(self._connections) if _is_lost(job) else job

    async def status(self, request: Request) -> Response:
        job = self._find(request)
        if isinstance(job, CannedResponse):
            return _to_response(job)
        match job.take_read_fault():
            case Outcome.STATUS_500:
                return _to_response(SERVER_ERROR)
            case Outcome.RESULT_404:
                return _to_response(NOT_FOUND)
            case Outcome.STATUS_UNKNOWN:
                return JSONResponse({**job_json(job), "status": UNKNOWN_STATUS})
        return JSONResponse(job_json(job))

    async def cancel(self, request: Request) -> Response:
        """Cancel a queued or running job. A finished job stays as it is."""
        job = self._find(request)
        if isinstance(job, CannedResponse):
            return _to_response(job)
        if job.status is not Status.COMPLETED:
            job.cancel()
        return JSONResponse({"id": job.request_id, "status": job_json(job)["status"]})

    async def purge_queue(self, request: Request) -> Response:
        if not _is_authenticated(request):
            return _to_response(UNAUTHORIZED)
        queued = self._runpod.jobs.queued(request.path_params["endpoint_id"])
        for job in queued:
            job.cancel()
        return JSONResponse({"removed": len(queued), "status": "completed"})

    async def health(self, request: Request) -> Response:
        if not _is_authenticated(request):
            return _to_response(UNAUTHORIZED)
        endpoint_id = request.path_params["endpoint_id"]
        jobs = [job for job in self._runpod.jobs.all() if job.app == endpoint_id]
        return JSONResponse({"jobs": _count(jobs), "workers": WORKERS})

    def _find(self, request: Request) -> Job | CannedResponse:
        if not _is_authenticated(request):
            return UNAUTHORIZED
        job = self._runpod.jobs.find(request.path_params["job_id"])
        is_here = job is not None and job.app == request.path_params["endpoint_id"]
        if job is None or not is_here or time.monotonic() > job.ends_at + KEPT_SECONDS:
            return NOT_FOUND
        return job


def _count(jobs: list[Job]) -> dict[str, Any]:
    finished = [job for job in jobs if job.status is Status.COMPLETED]
    failed = sum(job.has_failed for job in finished)
    return {
        "completed": len(finished) - failed,
        "failed": failed,
        "inProgress": sum(job.status is Status.IN_PROGRESS for job in jobs),
        "inQueue": sum(job.status is Status.IN_QUEUE for job in jobs),
        "retried": 0,
    }


def _is_lost(job: Job) -> bool:
    return job.scenario.outcome is Outcome.SUBMIT_LOST


def _is_authenticated(request: Request) -> bool:
    """The key, after `Bearer` or alone."""
    return bool(request.headers.get("authorization", "").removeprefix("Bearer").strip())


def _to_response(response: CannedResponse) -> JSONResponse:
    return JSONResponse(response.body, status_code=response.status, headers=dict(response.headers))
