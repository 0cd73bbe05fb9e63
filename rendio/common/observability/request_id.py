"""The id that ties an answer, its log lines and the tasks it caused together."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from uuid import uuid4

import structlog
from django.http import HttpRequest, HttpResponse

_SANE = re.compile(r"[A-Za-z0-9._\-]{8,64}")


def current() -> str | None:
    """The request id of what is running now, if anything is."""
    return structlog.contextvars.get_contextvars().get("request_id")


def bind_request_id(cause: str, **more: str) -> AbstractContextManager[None]:
    """What is logged and asked within bears the id of the request that caused it, unless another
    request is what runs; `more` is logged too."""
    if caused_by := current() or cause:
        more["request_id"] = caused_by
    return structlog.contextvars.bound_contextvars(**more)


class RequestIdMiddleware:
    """Take the client's X-Request-ID if it is a sane one, else make one; send it back and log
    it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        sent = request.headers.get("X-Request-ID", "")
        request_id = sent if _SANE.fullmatch(sent) else str(uuid4())
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response
