"""queue.fal.run: submit, status, status stream, result, cancel."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from sandbox.connections import Connections, DroppedResponse, NoResponse
from sandbox.fake_provider.jobs import Job, Status
from sandbox.fake_provider.media import MediaRenderer
from sandbox.fake_provider.outcomes import CannedResponse, Outcome
from sandbox.fake_provider.provider import FakeProvider
from sandbox.fal.models import app_id
from sandbox.fal.outcome import outcome_for
from sandbox.fal.responses import (
    NOT_FOUND,
    NOT_JSON,
    QUEUE_FULL,
    RESULT_FAILED,
    STATUS_FAILED,
    STILL_RUNNING,
    SUBMIT_ERRORS,
    UNAUTHORIZED,
    application_not_found,
    status_fields,
)
from sandbox.fal.results import failure_response, result_response

PREFIX = "/fal/queue"
FILES_PREFIX = "/fal/files"
UNKNOWN_STATUS = "WARMING_UP"
STREAM_INTERVAL_SECONDS = 0.1
JOB_PATH = re.compile(r"(?P<app>.+)/requests/(?P<id>[^/]+)(?:/(?P<what>.+))?")


class FalQueue:
    def __init__(
        self, *, fal: FakeProvider, renderer: MediaRenderer, connections: Connections
    ) -> None:
        self._fal = fal
        self._renderer = renderer
        self._connections = connections

    def routes(self) -> list[Route]:
        return [Route(PREFIX + "/{path:path}", self.dispatch, methods=["GET", "POST", "PUT"])]

    async def dispatch(self, request: Request) -> Response:
        """Route by hand, because a model id has any number of segments before `requests`."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "key" or not key.strip():
            return _to_response(UNAUTHORIZED)
        path = request.path_params["path"].strip("/")
        match = JOB_PATH.fullmatch(path)
        if match is None:
            return (
                await self.submit(request, path)
                if request.method == "POST"
                else _to_response(NOT_FOUND)
            )

        job = self._fal.jobs.find(match["id"])
        if job is None or match["app"] not in (job.app, job.model):
            return _to_response(NOT_FOUND)
        match request.method, match["what"]:
            case "GET", "status":
                return self.status(request, job)
            case "GET", "status/stream":
                return self.stream(request, job)
            case "GET", None | "response":
                return await self.result(job)
            case "PUT", "cancel":
                return self.cancel(job)
        return _to_response(CannedResponse(405, {"detail": "Method Not Allowed"}), job)

    async def submit(self, request: Request, model: str) -> Response:
        app = app_id(model)
        if app is None:
            return _to_response(application_not_found(model))
        try:
            arguments = await request.json()
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict):
            return _to_response(NOT_JSON)
        max_queue_length = request.query_params.get("fal_max_queue_length", "")
        if max_queue_length.isdecimal() and len(self._fal.jobs.queued(app)) >= int(
            max_queue_length
        ):
            return _to_response(QUEUE_FULL)

        scenario = self._fal.scenarios.next_for(model)
        if error := SUBMIT_ERRORS.get(scenario.outcome):
            return _to_response(error)
        if scenario.outcome is Outcome.SUBMIT_TIMEOUT:
            return NoResponse()
        specs, failure = outcome_for(model, arguments, scenario.outcome)
        job = self._fal.accept(
            Job(
                model=model,
                app=app,
                input=arguments,
                scenario=scenario,
                webhook_url=request.query_params.get("fal_webhook"),
                files_url=media_base_url(request) + FILES_PREFIX,
                failure=failure,
                specs=specs,
            )
        )
        if scenario.outcome is Outcome.SUBMIT_LOST:
            return DroppedResponse(self._connections)
        return _to_response(
            CannedResponse(
                200,
                {
                    "status": Status.IN_QUEUE,
                    **job_urls(request, job),
                    "logs": None,
                    "metrics": {},
                    "queue_position": self._fal.jobs.position(job),
                },
            ),
            job,
        )

    def status(self, request: Request, job: Job) -> Response:
        if job.scenario.outcome is Outcome.STATUS_500:
            return _to_response(STATUS_FAILED, job)
        body = self._status_body(request, job)
        return _to_response(
            CannedResponse(200 if body["status"] is Status.COMPLETED else 202, body), job
        )

    def stream(self, request: Request, job: Job) -> Response:
        if job.scenario.outcome is Outcome.STATUS_500:
            return _to_response(STATUS_FAILED, job)
        return StreamingResponse(
            self._status_events(request, job),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Fal-Request-Id": job.request_id},
        )

    async def _status_events(self, request: Request, job: Job) -> AsyncIterator[bytes]:
        last_sent = None
        while True:
            body = self._status_body(request, job)
            if body != last_sent:
                yield b"data: " + json.dumps(body).encode() + b"\n\n"
                last_sent = body
            if body["status"] is Status.COMPLETED:
                return
            await asyncio.sleep(STREAM_INTERVAL_SECONDS)

    async def result(self, job: Job) -> Response:
        if job.status is not Status.COMPLETED:
            return _to_response(STILL_RUNNING, job)
        if job.is_result_unavailable:
            return _to_response(RESULT_FAILED, job)
        if job.scenario.outcome is Outcome.RESULT_404:
            return _to_response(NOT_FOUND, job)
        return _to_response(await result_response(job, self._renderer), job)

    def cancel(self, job: Job) -> Response:
        if self._fal.cancel(job):
            return _to_response(CannedResponse(202, {"status": "CANCELLATION_REQUESTED"}), job)
        return _to_response(CannedResponse(400, {"status": "ALREADY_COMPLETED"}), job)

    def _status_body(self, request: Request, job: Job) -> dict[str, Any]:
        if job.scenario.outcome is Outcome.STATUS_UNKNOWN and not job.had_unknown_status:
            job.had_unknown_status = True
            return {"status": UNKNOWN_STATUS, **job_urls(request, job), "logs": None}
        status = job.status
        body: dict[str, Any] = {"status": status, **job_urls(request, job)}
        if status is Status.IN_QUEUE:
            return {**body, "queue_position": self._fal.jobs.position(job)}
        wants_logs = request.query_params.get("logs", "").lower() in ("1", "true")
        body["logs"] = job.logs() if wants_logs else None
        if status is Status.COMPLETED:
            body["metrics"] = {"inference_time": round(job.inference_seconds, 3)}
            if failure := failure_response(job):
                body |= status_fields(failure)
        return body


def job_urls(request: Request, job: Job) -> dict[str, str]:
    """Return the job's id and URLs with the host that the caller used.

    A proxy that maps another root to this path sets X-Forwarded-Prefix, which may be empty.
    """
    headers = request.headers
    scheme = headers.get("x-forwarded-proto", request.url.scheme)
    host = headers.get("x-forwarded-host", request.url.netloc)
    prefix = headers.get("x-forwarded-prefix", PREFIX).rstrip("/")
    base = f"{scheme}://{host}{prefix}/{job.app}/requests/{job.request_id}"
    return {
        "request_id": job.request_id,
        "response_url": base,
        "status_url": f"{base}/status",
        "cancel_url": f"{base}/cancel",
    }


def media_base_url(request: Request) -> str:
    """Return the base URL of the files.

    fal's media have another host, and a proxy of the queue does not lead to them. Behind a proxy
    the files are served at the address that the sandbox listens on.
    """
    if any(name.startswith("x-forwarded-") for name in request.headers):
        host, port = request.scope["server"]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return f"{request.url.scheme}://{request.url.netloc}"


def _to_response(response: CannedResponse, job: Job | None = None) -> JSONResponse:
    headers = dict(response.headers)
    if job is not None:
        headers["X-Fal-Request-Id"] = job.request_id
    return JSONResponse(response.body, status_code=response.status, headers=headers)
