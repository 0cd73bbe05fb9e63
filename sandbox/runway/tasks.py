"""api.dev.runwayml.com: create a task, look at it, delete it."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.connections import Connections, LostAnswer, NoAnswer
from sandbox.fake_provider.jobs import Job, Status
from sandbox.fake_provider.outcomes import Answer, Outcome
from sandbox.fake_provider.provider import Maker
from sandbox.fake_provider.specs import VideoSpec
from sandbox.runway.answers import (
    FAILURES,
    NO_VERSION,
    NOT_FOUND,
    SUBMIT_REFUSALS,
    UNAUTHORIZED,
    UNREADABLE,
    cost_of,
    credits_for,
    refused,
)
from sandbox.runway.inputs import InvalidTask, spec_of

FILES = "/runway/files"
VERSION = "2024-11-06"
UNHEARD_OF_STATUS = "WARMING_UP"


class RunwayTasks:
    def __init__(self, *, runway: Maker, connections: Connections) -> None:
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
        if refusal := _refusal(request):
            return _sent(refusal)
        try:
            body = await request.json()
            spec = spec_of(body, needs_image=request.url.path.endswith("image_to_video"))
        except (ValueError, AttributeError):
            return _sent(refused(400, "The body is not a JSON object."))
        except InvalidTask as error:
            return _sent(refused(400, f"Validation of body failed: {error}"))

        plan = self._runway.plans.take(body["model"])
        if refusal := SUBMIT_REFUSALS.get(plan.outcome):
            return _sent(refusal)
        if plan.outcome is Outcome.SUBMIT_TIMEOUT:
            return NoAnswer()
        job = self._runway.take(
            Job(
                model=body["model"],
                app=body["model"],
                input=body,
                plan=plan,
                webhook_url=None,
                files_url=f"{request.url.scheme}://{request.url.netloc}{FILES}",
                failure=FAILURES.get(plan.outcome),
                specs=(spec,),
            )
        )
        if plan.outcome is Outcome.SUBMIT_LOST:
            return LostAnswer(self._connections)
        return JSONResponse({"id": job.request_id, "estimatedCost": {"credits": _credits(job)}})

    async def get(self, request: Request) -> Response:
        job = self._runway.jobs.find(request.path_params["task_id"])
        if refusal := _refusal(request):
            return _sent(refusal)
        if job is None:
            return _sent(NOT_FOUND)
        has_ended = job.status is Status.COMPLETED
        match job.plan.outcome:
            case Outcome.STATUS_500:
                return _sent(UNREADABLE)
            case Outcome.RESULT_500 if has_ended:
                return _sent(UNREADABLE)
            case Outcome.RESULT_404 if has_ended:
                return _sent(NOT_FOUND)
        return JSONResponse(self._task(job))

    async def delete(self, request: Request) -> Response:
        """Cancelled or deleted, whichever it still can be: it is not there any more."""
        if refusal := _refusal(request):
            return _sent(refusal)
        if not self._runway.jobs.forget(request.path_params["task_id"]):
            return _sent(NOT_FOUND)
        return Response(status_code=204)

    def _task(self, job: Job) -> dict[str, Any]:
        task = {"id": job.request_id, "createdAt": job.submitted_at.isoformat()}
        if job.plan.outcome is Outcome.STATUS_UNKNOWN and not job.had_unknown_status:
            job.had_unknown_status = True
            return {**task, "status": UNHEARD_OF_STATUS}
        estimate = {"estimatedCost": {"credits": _credits(job)}}
        match job.status:
            case Status.IN_QUEUE:
                return {**task, "status": "PENDING", **estimate}
            case Status.IN_PROGRESS:
                return {**task, "status": "RUNNING", "progress": job.progress, **estimate}
        cost = {"cost": cost_of(_credits(job), job.failure)}
        if job.plan.outcome in (Outcome.CANCELLED, Outcome.ABORTED):
            return {**task, "status": "CANCELLED", **cost}
        if job.failure:
            told = {name: job.failure.body[name] for name in ("failure", "failureCode")}
            return {**task, "status": "FAILED", **told, **cost}
        is_odd = job.plan.outcome is Outcome.RESULT_ODD
        output = {"film": job.file_url()} if is_odd else [job.file_url()]
        return {**task, "status": "SUCCEEDED", "output": output, **cost}


def _credits(job: Job) -> int:
    (spec,) = job.specs
    assert isinstance(spec, VideoSpec)  # noqa: S101 (for the type checker)
    return credits_for(job.model, spec.seconds)


def _refusal(request: Request) -> Answer | None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        return UNAUTHORIZED
    return None if request.headers.get("x-runway-version") == VERSION else NO_VERSION


def _sent(answer: Answer) -> JSONResponse:
    return JSONResponse(answer.body, status_code=answer.status, headers=dict(answer.headers))
