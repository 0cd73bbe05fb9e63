"""Holds every answer that a test gets under /v1, /webhooks and /media against /openapi.json.

A middleware that the tests add outside of all of ours: an answer that is not described fails the
test that asked for it. Stricter than what we publish: fields that the description has not are wrong
here, while an app has to bear them.
"""

from __future__ import annotations

import json
import re
import threading
from functools import cache
from typing import Any

import jsonschema_rs
from django.http import FileResponse, HttpRequest, HttpResponse

from rendio.openapi.schema import document


class OpenApiConformance:
    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        answer = self.get_response(request)
        match = request.resolver_match
        if match and match.route.startswith(("v1/", "functions/v1/", "webhooks/", "media/")):
            answer = _collected(answer)
            check(str(request.method), match.route, answer)
        return answer


def _collected(answer: HttpResponse) -> HttpResponse:
    """A JSON file that is streamed, as an answer that tests read like any other."""
    if not (isinstance(answer, FileResponse) and answer["Content-Type"] == "application/json"):
        return answer
    content = answer.getvalue()
    assert len(content) == int(answer["Content-Length"])
    collected = HttpResponse(content, status=answer.status_code, headers=answer.headers)
    # The file is closed with it; to close the first answer now would end the database connection.
    collected._resource_closers += answer._resource_closers
    return collected


def check(method: str, route: str, answer: HttpResponse) -> None:
    operation = _operation("GET" if method == "HEAD" else method, route)
    if operation is None:
        assert answer.status_code == 405, (method, route)
        return
    status = str(answer.status_code)
    assert status in operation["responses"], f"{method} {route} is not said to answer {status}"
    content = operation["responses"][status].get("content", {})
    media_type = answer.headers.get("Content-Type", "").partition(";")[0]
    if "*/*" in content or not content:
        return
    assert media_type in content, f"{method} {route} {status} answers {media_type}"
    if media_type == "application/json":
        if answer.status_code >= 400:
            code = json.loads(answer.content)["error"]["code"]
            codes = content[media_type]["examples"]
            assert code in codes, f"{method} {route} {status} answers {code}"
        problems = [
            f"{error.instance_path}: {error.message}"
            for error in _validator(method, route, status).iter_errors(json.loads(answer.content))
        ]
        assert not problems, f"{method} {route} {status}: {problems}"


# drf-spectacular cannot make it for two threads at once.
_making = threading.Lock()


def described() -> dict[str, Any]:
    """The description, with no other fields allowed than it has."""
    with _making:
        return _described()


@cache
def _described() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(document().body)
    for schema in found["components"]["schemas"].values():
        _close(schema)
    return found


def _close(schema: dict[str, Any]) -> None:
    if "properties" in schema:
        schema.setdefault("additionalProperties", False)
        for inner in schema["properties"].values():
            _close(inner)


@cache
def _operation(method: str, route: str) -> dict[str, Any] | None:
    path = "/" + re.sub("<str:(.+?)>", r"{\1}", route.removeprefix("functions/"))
    found: dict[str, Any] | None = described()["paths"][path].get(method.lower())
    return found


@cache
def _validator(method: str, route: str, status: str) -> Any:
    operation = _operation(method, route)
    assert operation
    schema = operation["responses"][status]["content"]["application/json"]["schema"]
    components = {"schemas": described()["components"]["schemas"]}
    return jsonschema_rs.Draft202012Validator(
        {**schema, "components": components}, validate_formats=True
    )
