"""/openapi.json: built by drf-spectacular from the apps' descriptions of their operations.

This module adds the parts that all operations share: authentication, limits, and every possible
refusal in the envelope. Built once in each process.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any, cast

from django.utils import translation
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiResponse

import accounts.openapi
import adminops.openapi
import billing.openapi
import credits.openapi
import generation.openapi
import generation.training.openapi
import rendio.events.openapi
from adminops.api import StaffView
from rendio.common.errors import (
    DatabaseUnavailable,
    Forbidden,
    InternalError,
    InvalidInput,
    RateLimited,
    Refusal,
    Unauthorized,
    all_refusals,
)
from rendio.common.web.api import ApiView, PublicView
from rendio.common.web.body import Body
from rendio.common.web.openapi import JSON, Operation, Operations

OPERATIONS_BY_VIEW: Operations = {
    **accounts.openapi.OPERATIONS,
    **credits.openapi.OPERATIONS,
    **billing.openapi.OPERATIONS,
    **generation.openapi.OPERATIONS,
    **generation.training.openapi.OPERATIONS,
    **rendio.events.openapi.OPERATIONS,
    **adminops.openapi.OPERATIONS,
}
LIMIT_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
# Statuses of `INVALID_INPUT` other than 400, for operations with a body.
BODY_STATUSES = {413: "The body is too large.", 415: "The body is of another media type."}
# Text of INTERNAL_ERROR with status 503.
BUSY = "one of our services is busy. Try again."


class OperationSchema(AutoSchema):
    """One operation, described by its app's table."""

    @property
    def view_of_ours(self) -> ApiView:
        return cast("ApiView", self.view)

    @property
    def call(self) -> Operation:
        return OPERATIONS_BY_VIEW[type(self.view_of_ours)]

    def get_operation_id(self) -> str:
        if self.call.id:
            return self.call.id
        words = re.split("[-/_]", self.path.replace("{", "by-").replace("}", ""))
        name = [word for word in words if word not in {"", "v1"}]
        return name[0] + "".join(word.capitalize() for word in name[1:])

    def get_summary(self) -> str:
        return self.call.summary

    def get_description(self) -> str:  # type: ignore[override]  # as spectacular has it
        return self.call.text

    def get_tags(self) -> list[str]:
        return [self.call.tag.value]

    def get_auth(self) -> list[dict[str, Any]]:
        match self.view:
            case PublicView():
                return []
            case StaffView():
                return [{"staff": [], "csrf": []} if self.method == "POST" else {"staff": []}]
        return [{"bearer": []}]

    def get_override_parameters(self) -> list[Any]:
        return list(self.call.parameters)

    def get_request_serializer(self) -> Any:
        body = self.call.body
        if isinstance(body, type) and issubclass(body, Body):
            body = body.serializer()
        return {self.call.body_type: body} if body else None

    def get_examples(self) -> list[OpenApiExample]:
        sent = OpenApiExample(
            "Request", self.call.request_example, request_only=True, media_type=self.call.body_type
        )
        return [sent] if self.call.request_example else []

    def get_response_serializers(self) -> Any:
        call = self.call
        example = OpenApiExample("Answer", call.response_example, media_type=call.media_type)
        answer = OpenApiResponse(
            call.response,
            description="Success.",
            examples=[example] if call.response_example else [],
        )
        return {(call.status, call.media_type): answer}

    def _get_response_headers_for_code(
        self, status_code: str, direction: str = "response"
    ) -> dict[str, Any]:
        headers = _refs("headers", self._header_names(int(status_code)))
        if status_code == str(self.call.status):
            for name, text in self.call.headers.items():
                headers[name] = {"schema": {"type": "string"}, "description": text}
        return headers

    def _get_parameters(self) -> list[dict[str, Any]]:
        common = _refs("parameters", ["Accept-Language", "X-Request-ID"])
        return [*super()._get_parameters(), *common.values()]

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        for status, text in self.call.other_statuses.items():
            bodies[str(status)] = {
                "description": text,
                "headers": self._get_response_headers_for_code(str(status)),
            }
        for status, refusals in sorted(self._refusals().items()):
            bodies[str(status)] = {
                "description": "\n".join(
                    f"- {_describe_refusal(refusal, status)}" for refusal in refusals
                ),
                "headers": self._get_response_headers_for_code(str(status)),
                "content": {JSON: _refusal_content(refusals)},
            }
        return bodies

    def _header_names(self, status: int) -> list[str]:
        names = ["X-Request-ID"]
        if self.view_of_ours.has_limits:
            names += LIMIT_HEADERS
        if status in {409, 429, 503}:
            names.append("Retry-After")
        if status == 401:
            names.append("WWW-Authenticate")
        return names

    def _refusals(self) -> dict[int, list[type[Refusal]]]:
        """Refusals of this operation, by status."""
        view, call = self.view_of_ours, self.call
        refusals: set[type[Refusal]] = {*call.refusals, DatabaseUnavailable, InternalError}
        if not isinstance(view, PublicView):
            refusals |= {Unauthorized, Forbidden}
        if view.has_limits:
            refusals.add(RateLimited)
        if view.limiter_refusal:
            refusals.add(view.limiter_refusal)
        if self.method == "POST" or any(one.location != "header" for one in call.parameters):
            refusals.add(InvalidInput)
        found: dict[int, list[type[Refusal]]] = {}
        for refusal in sorted(refusals, key=lambda refusal: refusal.code):
            found.setdefault(refusal.status, []).append(refusal)
        if self.method == "POST":
            found |= {status: [InvalidInput] for status in BODY_STATUSES}
            found[503].append(InternalError)
        return found


def _describe_refusal(refusal: type[Refusal], status: int) -> str:
    if refusal is InvalidInput and status in BODY_STATUSES:
        text = BODY_STATUSES[status]
    elif refusal is InternalError and status == 503:
        text = BUSY
    else:
        text = _message(refusal)
    return f"{refusal.code} {refusal.type}: {text}"


def _message(refusal: type[Refusal]) -> str:
    message: Any = refusal.message  # the stubs do not know that a lazy text has `%`
    return str(message % refusal.example)


def _refusal_content(refusals: list[type[Refusal]]) -> dict[str, Any]:
    """The envelope, with an example of each of these refusals. One type for all of them: clients
    are generated with one type for each schema."""
    return {
        "schema": {"$ref": "#/components/schemas/Error"},
        "examples": _refs("examples", [refusal.code for refusal in refusals]),
    }


def _refs(kind: str, names: Any) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/{kind}/{name}"} for name in names}


# --- Components -----------------------------------------------------------------------------------


def exclude_legacy_prefix(endpoints: list[Any], **_: Any) -> list[Any]:
    """Exclude /functions/v1, where older builds find the same operations as under /v1."""
    return [one for one in endpoints if not one[0].startswith("/functions/")]


def add_components(result: Any, **_: Any) -> Any:
    """Add the components that operations refer to."""
    components = result["components"]
    components["schemas"] |= {"Error": _ERROR, "ErrorContent": _ERROR_CONTENT}
    components["examples"] = {one.code: {"value": _example(one)} for one in all_refusals()}
    components["headers"] = {
        name: {"description": text, "schema": {"type": type_}}
        for name, (type_, text) in _HEADERS.items()
    }
    components["parameters"] = {
        name: {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}
        for name, text in _PARAMETERS.items()
    }
    components["securitySchemes"] = _SECURITY
    return result


_ERROR = {
    "type": "object",
    "properties": {"error": {"$ref": "#/components/schemas/ErrorContent"}},
    "required": ["error"],
}
_ERROR_CONTENT = {
    "type": "object",
    "properties": {
        "code": {"type": "string", "enum": [one.code for one in all_refusals()]},
        "type": {"type": "string", "enum": [one.type for one in all_refusals()]},
        "message": {"type": "string", "description": "In the caller's language."},
        "details": {"type": "object", "additionalProperties": True},
        "request_id": {"type": "string"},
        "timestamp": {"type": "string", "format": "date-time"},
    },
    "required": ["code", "type", "message", "details", "request_id", "timestamp"],
}
_HEADERS = {
    "X-Request-ID": ("string", "The request's id: the caller's own, else a new one."),
    "X-RateLimit-Limit": ("integer", "How many requests the tightest limit allows."),
    "X-RateLimit-Remaining": ("integer", "How many of them are left."),
    "X-RateLimit-Reset": ("integer", "When its window ends, in epoch seconds."),
    "Retry-After": ("integer", "When to try again, in seconds, if we know."),
    "WWW-Authenticate": ("string", "Bearer"),
}
_PARAMETERS = {
    "Accept-Language": "The language of messages: `en`, `tr` or `es`; else the profile's.",
    "X-Request-ID": "8 to 64 letters, digits, dots, dashes or underscores.",
}
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "staff": {"type": "apiKey", "in": "cookie", "name": "sessionid"},
    "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRFToken"},
}


def _example(refusal: type[Refusal]) -> dict[str, Any]:
    return {
        "error": {
            "code": refusal.code,
            "type": refusal.type,
            "message": _message(refusal),
            "details": refusal.example,
            "request_id": "0d6b7a5e-8c1f-4b7e-9a54-6f4f6f0b1a11",
            "timestamp": "2026-11-21T10:00:00Z",
        }
    }


@dataclass(frozen=True)
class Document:
    body: bytes
    etag: str


@cache
def document() -> Document:
    """The document, built once in each process (half a second). Always in English."""
    with translation.override("en"):
        schema = SchemaGenerator().get_schema(  # type: ignore[no-untyped-call]
            request=None, public=True
        )
    body = json.dumps(schema, default=str, ensure_ascii=False).encode()
    return Document(body, f'"{sha256(body).hexdigest()[:32]}"')
