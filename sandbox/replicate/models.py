"""api.replicate.com: the account, its models and their versions."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.fake_provider.jobs import Job
from sandbox.replicate.provider import ACCOUNT, Model, ReplicateProvider, version_id
from sandbox.replicate.resource import is_authenticated, to_response
from sandbox.replicate.responses import NOT_FOUND, UNAUTHORIZED, error_response

MODEL_PATH = "/replicate/v1/models/" + ACCOUNT + "/{name}"
FIELDS = ("owner", "name", "visibility", "hardware")

NOT_OURS = error_response(403, "Forbidden", "You do not own this model.")
EXISTS = error_response(422, "Validation failed", "A model with this owner and name exists.")
HAS_VERSIONS = error_response(400, "Bad request", "The model has versions: delete them first.")


class ReplicateModels:
    def __init__(self, *, replicate: ReplicateProvider) -> None:
        self._replicate = replicate

    def routes(self) -> list[Route]:
        version_path = MODEL_PATH + "/versions/{version}"
        return [
            Route("/replicate/v1/account", self.account, methods=["GET"]),
            Route("/replicate/v1/models", self.create, methods=["POST"]),
            Route(MODEL_PATH, self.get, methods=["GET"]),
            Route(MODEL_PATH, self.delete, methods=["DELETE"]),
            Route(MODEL_PATH + "/versions", self.versions, methods=["GET"]),
            Route(version_path, self.delete_version, methods=["DELETE"]),
        ]

    async def account(self, request: Request) -> Response:
        if not is_authenticated(request):
            return to_response(UNAUTHORIZED)
        return JSONResponse({"type": "organization", "username": ACCOUNT, "name": "Sandbox"})

    async def create(self, request: Request) -> Response:
        if not is_authenticated(request):
            return to_response(UNAUTHORIZED)
        try:
            body = await request.json()
            owner, name, visibility, _ = (body[field] for field in FIELDS)
        except (ValueError, TypeError, KeyError):
            required = ", ".join(FIELDS)
            return to_response(error_response(422, "Validation failed", f"{required} are required"))
        if owner != ACCOUNT:
            return to_response(NOT_OURS)
        if name in self._replicate.models:
            return to_response(EXISTS)
        if not name or visibility not in ("public", "private"):
            return to_response(error_response(422, "Validation failed", "invalid name, visibility"))
        return JSONResponse(_model_json(self._replicate.add_model(name)), status_code=201)

    async def get(self, request: Request) -> Response:
        model = self._find(request)
        return model if isinstance(model, Response) else JSONResponse(_model_json(model))

    async def delete(self, request: Request) -> Response:
        model = self._find(request)
        if isinstance(model, Response):
            return model
        if self._replicate.versions(model):
            return to_response(HAS_VERSIONS)
        del self._replicate.models[model.name]
        return Response(status_code=204)

    async def versions(self, request: Request) -> Response:
        model = self._find(request)
        if isinstance(model, Response):
            return model
        results = [_version_json(job) for job in self._replicate.versions(model)]
        return JSONResponse({"previous": None, "next": None, "results": results})

    async def delete_version(self, request: Request) -> Response:
        model = self._find(request)
        if isinstance(model, Response):
            return model
        model.deleted_versions.add(request.path_params["version"])
        return Response(status_code=202)

    def _find(self, request: Request) -> Model | Response:
        if not is_authenticated(request):
            return to_response(UNAUTHORIZED)
        return self._replicate.models.get(request.path_params["name"]) or to_response(NOT_FOUND)


def _version_json(job: Job) -> dict[str, Any]:
    return {
        "id": version_id(job),
        "created_at": job.submitted_at.isoformat(),
        "cog_version": "0.9.20",
        "openapi_schema": {},
    }


def _model_json(model: Model) -> dict[str, Any]:
    return {
        "url": f"https://replicate.com/{ACCOUNT}/{model.name}",
        "owner": ACCOUNT,
        "name": model.name,
        "description": None,
        "visibility": "private",
        "github_url": None,
        "paper_url": None,
        "license_url": None,
        "run_count": 0,
        "cover_image_url": None,
        "default_example": None,
        "latest_version": None,
    }
