"""A log of requests, so that tests can count submissions and polls."""

import json
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_REQUESTS = 20_000
MAX_BODY_BYTES = 64 * 1024 * 1024
"""Total size of the recorded bodies: a few hundred inlined images."""

FORM_MEDIA_TYPE = "application/x-www-form-urlencoded"
SECRET_HEADERS = ("modal-key", "modal-secret")
SECRET_FIELDS = ("client_secret", "code", "token", "refresh_token")
"""Form fields of which only the last characters are recorded."""


@dataclass
class RecordedRequest:
    provider: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    at: datetime
    body: bytes = b""
    answered: int | None = None

    @property
    def is_form(self) -> bool:
        return self.headers.get("content-type", "").lower().startswith(FORM_MEDIA_TYPE)

    def as_json(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": self.headers,
            "body": _decode_body(self.body, is_form=self.is_form),
            "at": self.at.isoformat(),
            "answered": self.answered,
        }


@dataclass
class RequestLog:
    _requests: deque[RecordedRequest] = field(default_factory=deque)
    _body_bytes: int = 0

    def reset(self) -> None:
        self._requests.clear()
        self._body_bytes = 0

    def requests_to(self, provider: str | None) -> list[RecordedRequest]:
        return [request for request in self._requests if provider in (None, request.provider)]

    def add(self, request: RecordedRequest) -> None:
        self._requests.append(request)
        self._body_bytes += len(request.body)
        while len(self._requests) > MAX_REQUESTS or self._body_bytes > MAX_BODY_BYTES:
            self._body_bytes -= len(self._requests.popleft().body)


class RecordRequests:
    """ASGI middleware that records every request below `/{provider}/` with its body and status."""

    def __init__(self, app: ASGIApp, *, log: RequestLog, providers: Collection[str]) -> None:
        self._app = app
        self._log = log
        self._providers = providers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        provider = scope["path"].split("/", 2)[1] if scope["type"] == "http" else ""
        if provider not in self._providers:
            await self._app(scope, receive, send)
            return

        request = Request(scope, receive)
        recorded = RecordedRequest(
            provider=provider,
            method=request.method,
            path=scope["path"],
            query=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
            headers={name: _redact(name, value) for name, value in request.headers.items()},
            at=datetime.now(UTC),
        )
        chunks = []
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return  # the client disconnected before the request was complete
            chunks.append(message.get("body", b""))
            if not message.get("more_body"):
                break
        recorded.body = b"".join(chunks)
        self._log.add(recorded)

        body_was_read = False

        async def replay() -> Message:
            nonlocal body_was_read
            if body_was_read:
                return await receive()
            body_was_read = True
            return {"type": "http.request", "body": recorded.body, "more_body": False}

        async def record_status(message: Message) -> None:
            if message["type"] == "http.response.start":
                recorded.answered = message["status"]
            await send(message)

        await self._app(scope, replay, record_status)


def _redact(name: str, value: str) -> str:
    if name in SECRET_HEADERS:
        return _last_characters(value)
    if name != "authorization":
        return value
    scheme, _, secret = value.partition(" ")
    return f"{scheme} {_last_characters(secret)}"


def _last_characters(secret: str) -> str:
    # Four characters distinguish two keys. Of a short key they would be most of it.
    return f"…{secret[-4:]}" if len(secret) > 8 else "…"


def _decode_body(body: bytes, *, is_form: bool) -> Any:
    """A form as its fields, JSON, else text, else None."""
    if not body:
        return None
    if is_form:
        fields = parse_qsl(body.decode(errors="replace"), keep_blank_values=True)
        return {
            name: _last_characters(value) if name in SECRET_FIELDS else value
            for name, value in fields
        }
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
