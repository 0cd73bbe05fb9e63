"""Responses of the server itself, without the application, in the API's error envelope."""

from __future__ import annotations

from http import HTTPStatus
from uuid import uuid4

from django.conf import settings
from django.utils import translation
from django.utils.translation import gettext_lazy as _
from gunicorn.util import http_date

from rendio.common.errors import (
    MALFORMED,
    DatabaseUnavailable,
    InternalError,
    InvalidInput,
    Refusal,
    refusal_response,
)
from rendio.common.observability import request_id
from rendio.common.web import language

NOT_IN_TIME = _("Not received in time.")


def malformed(status: int) -> bytes:
    return answer(InvalidInput(fields={"request": [MALFORMED]}, status=status))  # type: ignore[list-item]


def not_in_time(accept_language: str) -> bytes:
    refusal = InvalidInput(fields={"request": [NOT_IN_TIME]}, status=408)  # type: ignore[list-item]
    return answer(refusal, accept_language=accept_language)


def busy(accept_language: str) -> bytes:
    """No thread, or no memory, is free."""
    return answer(DatabaseUnavailable(), accept_language=accept_language)


def broken(accept_language: str) -> bytes:
    return answer(InternalError(), accept_language=accept_language)


def answer(refusal: Refusal, *, accept_language: str = "") -> bytes:
    """The complete response, which closes the connection."""
    spoken = language.preferred(accept_language) or settings.LANGUAGE_CODE
    with translation.override(spoken), request_id.bind_request_id(str(uuid4())):
        response = refusal_response(refusal)
        response["X-Request-ID"] = request_id.current() or ""
    phrase = HTTPStatus(response.status_code).phrase
    headers = {
        "Date": http_date(),
        "Connection": "close",
        **response.headers,
        "Content-Length": str(len(response.content)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    lines = [f"HTTP/1.1 {response.status_code} {phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + response.content
