"""api.replicate.com: create, read and cancel trainings by `ostris/flux-dev-lora-trainer`.

Every version of a trainer exists. Its inputs are those of https://github.com/replicate/flux-fine-tuner
(`train.py`).
"""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.connections import Connections
from sandbox.fake_provider.jobs import Job
from sandbox.fake_provider.media import MediaRenderer
from sandbox.fake_provider.specs import WeightsSpec
from sandbox.replicate.job_json import created_training_json, training_json
from sandbox.replicate.provider import ACCOUNT, ReplicateProvider
from sandbox.replicate.resource import (
    ReplicateResource,
    is_authenticated,
    parse_order,
    to_response,
)
from sandbox.replicate.responses import NO_VERSION, UNAUTHORIZED, error_response

MIN_STEPS, DEFAULT_STEPS, MAX_STEPS = 3, 1000, 6000
NO_DESTINATION = error_response(
    422, "Invalid destination", "The destination must be an existing model of your account."
)


class ReplicateTrainings(ReplicateResource):
    path = "/replicate/v1/trainings"

    def __init__(
        self, *, replicate: ReplicateProvider, renderer: MediaRenderer, connections: Connections
    ) -> None:
        super().__init__(replicate=replicate, connections=connections)
        self._renderer = renderer

    def routes(self) -> list[Route]:
        path = "/replicate/v1/models/{owner}/{name}/versions/{version}/trainings"
        return [Route(path, self.create, methods=["POST"]), *super().routes()]

    async def as_json(self, job: Job) -> dict[str, Any]:
        return await training_json(job, self._renderer)

    async def created_json(self, job: Job) -> dict[str, Any]:
        return created_training_json(job)

    async def create(self, request: Request) -> Response:
        if not is_authenticated(request):
            return to_response(UNAUTHORIZED)
        order = await parse_order(request)
        if not order:
            return to_response(NO_VERSION)
        owner, _, name = str(order.get("destination")).partition("/")
        if owner != ACCOUNT or name not in self._replicate.models:
            return to_response(NO_DESTINATION)
        spec = _parse_spec(order["input"])
        if spec is None:
            detail = "- input: input_images and steps (3 to 6000) are invalid"
            return to_response(error_response(422, "Input validation failed", detail))
        model = request.url.path.removeprefix("/replicate/v1/models/")
        return await self.accept(request, model=model, order=order, spec=spec)


def _parse_spec(arguments: Mapping[str, Any]) -> WeightsSpec | None:
    zip_url, steps = arguments.get("input_images"), arguments.get("steps", DEFAULT_STEPS)
    trigger_word = arguments.get("trigger_word", "TOK")
    if not (isinstance(zip_url, str) and isinstance(trigger_word, str)):
        return None
    if type(steps) is not int or not MIN_STEPS <= steps <= MAX_STEPS:
        return None
    return WeightsSpec(zip_url, trigger_word, steps, "flux-1-dev", is_tar=True)
