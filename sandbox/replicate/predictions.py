"""api.replicate.com: create, read and cancel predictions; the webhooks' secret."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.fake_provider.jobs import Job
from sandbox.fake_provider.specs import parse_video_spec
from sandbox.replicate.job_json import prediction_json
from sandbox.replicate.resource import (
    ReplicateResource,
    is_authenticated,
    parse_order,
    to_response,
)
from sandbox.replicate.responses import NO_VERSION, UNAUTHORIZED, error_response
from sandbox.replicate.webhooks import SECRET


class ReplicatePredictions(ReplicateResource):
    path = "/replicate/v1/predictions"

    def routes(self) -> list[Route]:
        return [
            Route(self.path, self.create, methods=["POST"]),
            *super().routes(),
            Route("/replicate/v1/webhooks/default/secret", self.secret, methods=["GET"]),
        ]

    async def as_json(self, job: Job) -> dict[str, Any]:
        return prediction_json(job)

    async def create(self, request: Request) -> Response:
        if not is_authenticated(request):
            return to_response(UNAUTHORIZED)
        order = await parse_order(request)
        version = order.get("version")
        if not isinstance(version, str):
            return to_response(NO_VERSION)
        spec = parse_video_spec(order["input"])
        if spec is None:
            return to_response(
                error_response(422, "Input validation failed", "- input: prompt is required")
            )
        return await self.accept(request, model=version, order=order, spec=spec)

    async def secret(self, request: Request) -> Response:
        if not is_authenticated(request):
            return to_response(UNAUTHORIZED)
        return JSONResponse({"key": SECRET})
