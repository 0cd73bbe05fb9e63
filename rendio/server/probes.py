"""Responses of the status pages, cached for a second."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

KEPT_SECONDS = 1.0


class _Answer(NamedTuple):
    status: str
    headers: list[tuple[str, str]]
    body: bytes


class KeptAnswer:
    """WSGI: calls `application` at most once in KEPT_SECONDS, and repeats its response meanwhile.

    For one page with the same response for all callers, who may ask for it at any rate. Its
    X-Request-ID is that of the request that was passed on. Not thread-safe: one thread serves the
    page.
    """

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application
        self._answer: _Answer | None = None
        self._kept_until = 0.0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._answer is None or time.monotonic() >= self._kept_until:
            self._answer = _answer_of(self._application, environ)
            # The period starts here: requests that arrived meanwhile get this response too.
            self._kept_until = time.monotonic() + KEPT_SECONDS
        start_response(self._answer.status, list(self._answer.headers))
        return [self._answer.body]


def _answer_of(application: WSGIApplication, environ: WSGIEnvironment) -> _Answer:
    started: list[tuple[str, list[tuple[str, str]]]] = []
    body: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        started.append((status, headers))
        return body.append

    pieces = application(environ, start_response)
    try:
        body.extend(pieces)
    finally:
        if hasattr(pieces, "close"):
            pieces.close()
    status, headers = started[-1]
    return _Answer(status, headers, b"".join(body))
