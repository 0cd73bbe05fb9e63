"""queue.fal.run: submit, status, status stream, result, cancel."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from sandbox.connections import Connections, LostAnswer, NoAnswer
from sandbox.fake_provider.jobs import Job, Status
from sandbox.fake_provider.media import Studio
from sandbox.fake_provider.outcomes import Answer, Outcome
from sandbox.fake_provider.provider import Maker
from sandbox.fal.answers import (
    NOT_FOUND,
    NOT_JSON,
    QUEUE_FULL,
    RESULT_FAILED,
    STATUS_FAILED,
    STILL_RUNNING,
    SUBMIT_REFUSALS,
    UNAUTHORIZED,
    application_not_found,
    status_fields,
)
from sandbox.fal.models import app_of
from sandbox.fal.outcome import fate_of
from sandbox.fal.results import answer_of, failure_of

PREFIX = "/fal/queue"
FILES = "/fal/files"
UNHEARD_OF_STATUS = "WARMING_UP"
STREAM_LOOKS_EVERY_SECONDS = 0.1
JOB_PATH = re.compile(r"(?P<app>.+)/requests/(?P<id>[^/]+)(?:/(?P<what>.+))?")


class FalQueue:
    def __init__(self, *, fal: Maker, studio: Studio, connections: Connections) -> None:
        self._fal = fal
        self._studio = studio
        self._connections = connections

    def routes(self) -> list[Route]:
        return [Route(PREFIX + "/{path:path}", self.dispatch, methods=["GET", "POST", "PUT"])]

    async def dispatch(self, request: Request) -> Response:
        """By hand: a model id has any number of segments, before and beside `requests`."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "key" or not key.strip():
            return _sent(UNAUTHORIZED)
        path = request.path_params["path"].strip("/")
        match = JOB_PATH.fullmatch(path)
        if match is None:
            return (
                await self.submit(request, path) if request.method == "POST" else _sent(NOT_FOUND)
            )

        job = self._fal.jobs.find(match["id"])
        if job is None or match["app"] not in (job.app, job.model):
            return _sent(NOT_FOUND)
        match request.method, match["what"]:
            case "GET", "status":
                return self.status(request, job)
            case "GET", "status/stream":
                return self.stream(request, job)
            case "GET", None | "response":
                return await self.result(job)
            case "PUT", "cancel":
                return self.cancel(job)
        return _sent(Answer(405, {"detail": "Method Not Allowed"}), job)

    async def submit(self, request: Request, model: str) -> Response:
        app = app_of(model)
        if app is None:
            return _sent(application_not_found(model))
        try:
            arguments = await request.json()
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict):
            return _sent(NOT_JSON)
        longest_queue = request.query_params.get("fal_max_queue_length", "")
        if longest_queue.isdecimal() and len(self._fal.jobs.waiting(app)) >= int(longest_queue):
            return _sent(QUEUE_FULL)

        plan = self._fal.plans.take(model)
        if refusal := SUBMIT_REFUSALS.get(plan.outcome):
            return _sent(refusal)
        if plan.outcome is Outcome.SUBMIT_TIMEOUT:
            return NoAnswer()
        specs, failure = fate_of(model, arguments, plan.outcome)
        job = self._fal.take(
            Job(
                model=model,
                app=app,
                input=arguments,
                plan=plan,
                webhook_url=request.query_params.get("fal_webhook"),
                files_url=media_base(request) + FILES,
                failure=failure,
                specs=specs,
            )
        )
        if plan.outcome is Outcome.SUBMIT_LOST:
            return LostAnswer(self._connections)
        return _sent(
            Answer(
                200,
                {
                    "status": Status.IN_QUEUE,
                    **urls(request, job),
                    "logs": None,
                    "metrics": {},
                    "queue_position": self._fal.jobs.position(job),
                },
            ),
            job,
        )

    def status(self, request: Request, job: Job) -> Response:
        if job.plan.outcome is Outcome.STATUS_500:
            return _sent(STATUS_FAILED, job)
        body = self._status_body(request, job)
        return _sent(Answer(200 if body["status"] is Status.COMPLETED else 202, body), job)

    def stream(self, request: Request, job: Job) -> Response:
        if job.plan.outcome is Outcome.STATUS_500:
            return _sent(STATUS_FAILED, job)
        return StreamingResponse(
            self._changes(request, job),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Fal-Request-Id": job.request_id},
        )

    async def _changes(self, request: Request, job: Job) -> AsyncIterator[bytes]:
        told = None
        while True:
            body = self._status_body(request, job)
            if body != told:
                yield b"data: " + json.dumps(body).encode() + b"\n\n"
                told = body
            if body["status"] is Status.COMPLETED:
                return
            await asyncio.sleep(STREAM_LOOKS_EVERY_SECONDS)

    async def result(self, job: Job) -> Response:
        if job.status is not Status.COMPLETED:
            return _sent(STILL_RUNNING, job)
        if job.plan.outcome is Outcome.RESULT_500:
            return _sent(RESULT_FAILED, job)
        if job.plan.outcome is Outcome.RESULT_404:
            return _sent(NOT_FOUND, job)
        return _sent(await answer_of(job, self._studio), job)

    def cancel(self, job: Job) -> Response:
        if self._fal.cancel(job):
            return _sent(Answer(202, {"status": "CANCELLATION_REQUESTED"}), job)
        return _sent(Answer(400, {"status": "ALREADY_COMPLETED"}), job)

    def _status_body(self, request: Request, job: Job) -> dict[str, Any]:
        if job.plan.outcome is Outcome.STATUS_UNKNOWN and not job.had_unknown_status:
            job.had_unknown_status = True
            return {"status": UNHEARD_OF_STATUS, **urls(request, job), "logs": None}
        status = job.status
        body: dict[str, Any] = {"status": status, **urls(request, job)}
        if status is Status.IN_QUEUE:
            return {**body, "queue_position": self._fal.jobs.position(job)}
        wants_logs = request.query_params.get("logs", "").lower() in ("1", "true")
        body["logs"] = job.logs() if wants_logs else None
        if status is Status.COMPLETED:
            body["metrics"] = {"inference_time": round(job.inference_seconds, 3)}
            if failure := failure_of(job):
                body |= status_fields(failure)
        return body


def urls(request: Request, job: Job) -> dict[str, str]:
    """A job's id and addresses, under the name by which the caller reached us.

    A front that maps another root to ours says so with X-Forwarded-Prefix, which may be empty.
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


def media_base(request: Request) -> str:
    """Where the files are. fal's media have a host of their own, so a front before the queue alone
    does not lead to them: behind one it is the address that we listen on."""
    if any(name.startswith("x-forwarded-") for name in request.headers):
        host, port = request.scope["server"]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return f"{request.url.scheme}://{request.url.netloc}"


def _sent(answer: Answer, job: Job | None = None) -> JSONResponse:
    headers = dict(answer.headers)
    if job is not None:
        headers["X-Fal-Request-Id"] = job.request_id
    return JSONResponse(answer.body, status_code=answer.status, headers=headers)
