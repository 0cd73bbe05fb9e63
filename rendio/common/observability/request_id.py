"""The request id: connects a response, its log lines and the tasks that it caused."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from uuid import uuid4

import structlog
from django.http import HttpRequest, HttpResponse

_SANE = re.compile(r"[A-Za-z0-9._\-]{8,64}")


def current() -> str | None:
    """The id of the current request, if any."""
    return structlog.contextvars.get_contextvars().get("request_id")


def bind_request_id(cause: str, **more: str) -> AbstractContextManager[None]:
    """Log and send this request id within the block, unless another request is current; `more` is
    logged too."""
    if caused_by := current() or cause:
        more["request_id"] = caused_by
    return structlog.contextvars.bound_contextvars(**more)


class RequestIdMiddleware:
    """Use the client's X-Request-ID if it is well formed, else a new one; return and log it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        sent = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = sent if _SANE.fullmatch(sent) else str(uuid4())
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response
