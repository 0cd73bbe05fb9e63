"""api.replicate.com: create a prediction, look at it, cancel it; the webhooks' secret."""

import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.connections import Connections, LostAnswer, NoAnswer
from sandbox.fake_provider.jobs import Job, Status
from sandbox.fake_provider.outcomes import Answer, Outcome
from sandbox.fake_provider.provider import Maker
from sandbox.fake_provider.specs import VideoSpec, size_of
from sandbox.replicate.answers import (
    FAILURES,
    NO_VERSION,
    NOT_FOUND,
    SUBMIT_REFUSALS,
    UNAUTHORIZED,
    UNREADABLE,
    refused,
)
from sandbox.replicate.bodies import prediction
from sandbox.replicate.webhooks import SECRET

FILES = "/replicate/files"
UNHEARD_OF_STATUS = "warming"
DEFAULT_SECONDS = 5


class ReplicatePredictions:
    def __init__(self, *, replicate: Maker, connections: Connections) -> None:
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
            return _sent(UNAUTHORIZED)
        try:
            body = await request.json()
            version, arguments = body["version"], body["input"]
        except (ValueError, TypeError, KeyError):
            return _sent(NO_VERSION)
        if not (isinstance(version, str) and isinstance(arguments, dict)):
            return _sent(NO_VERSION)
        spec = _spec(arguments)
        if spec is None:
            return _sent(refused(422, "Input validation failed", "- input: prompt is required"))

        plan = self._replicate.plans.take(version)
        if refusal := SUBMIT_REFUSALS.get(plan.outcome):
            return _sent(refusal)
        if plan.outcome is Outcome.SUBMIT_TIMEOUT:
            return NoAnswer()
        wants_end = "completed" in body.get("webhook_events_filter", ["completed"])
        job = self._replicate.take(
            Job(
                model=version,
                app=version,
                input=arguments,
                plan=plan,
                webhook_url=body.get("webhook") if wants_end else None,
                files_url=f"{request.url.scheme}://{request.url.netloc}{FILES}",
                failure=FAILURES.get(plan.outcome),
                specs=(spec,),
            )
        )
        if plan.outcome is Outcome.SUBMIT_LOST:
            return LostAnswer(self._connections)
        return JSONResponse(prediction(job), status_code=201)

    async def get(self, request: Request) -> Response:
        job = self._find(request)
        if isinstance(job, Answer):
            return _sent(job)
        has_ended = job.status is Status.COMPLETED
        match job.plan.outcome:
            case Outcome.STATUS_500:
                return _sent(UNREADABLE)
            case Outcome.RESULT_500 if has_ended:
                return _sent(UNREADABLE)
            case Outcome.RESULT_404 if has_ended:
                return _sent(NOT_FOUND)
            case Outcome.STATUS_UNKNOWN if not job.had_unknown_status:
                job.had_unknown_status = True
                return JSONResponse({**prediction(job), "status": UNHEARD_OF_STATUS})
        return JSONResponse(prediction(job))

    async def cancel(self, request: Request) -> Response:
        job = self._find(request)
        if isinstance(job, Answer):
            return _sent(job)
        self._replicate.cancel(job)
        return JSONResponse(prediction(job))

    async def secret(self, request: Request) -> Response:
        if not _is_authenticated(request):
            return _sent(UNAUTHORIZED)
        return JSONResponse({"key": SECRET})

    def _find(self, request: Request) -> Job | Answer:
        if not _is_authenticated(request):
            return UNAUTHORIZED
        return self._replicate.jobs.find(request.path_params["prediction_id"]) or NOT_FOUND


def _spec(arguments: Mapping[str, Any]) -> VideoSpec | None:
    prompt, seconds = arguments.get("prompt"), arguments.get("duration", DEFAULT_SECONDS)
    ratio = re.fullmatch(r"(\d{1,2}):(\d{1,2})", str(arguments.get("aspect_ratio", "16:9")))
    if not (isinstance(prompt, str) and type(seconds) is int and 1 <= seconds <= 60 and ratio):
        return None
    width, height = size_of((int(ratio[1]), int(ratio[2])))
    return VideoSpec(prompt, seconds, width, height)


def _is_authenticated(request: Request) -> bool:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and bool(key.strip())


def _sent(answer: Answer) -> JSONResponse:
    return JSONResponse(answer.body, status_code=answer.status, headers=dict(answer.headers))
