"""The events process: an ASGI application on uvicorn.

A request is answered by Django, in a thread, as the web process would: authentication, limits and
refusals are the same. The loop then keeps the response open. So threads and their database
connections are busy while streams open, and a waiting stream holds neither.
"""

from __future__ import annotations

import asyncio
import gc
import io
import resource
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any, cast

import uvicorn
from django.conf import settings
from django.core import signals
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import BaseHandler
from django.http import HttpResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from accounts import revocations
from adminops.monitoring import heartbeats
from rendio.events.hub import Hub
from rendio.events.responses import EventsResponse
from rendio.events.streams import Stream

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

URLS = "rendio.events.urls"
# Requests that are answered at the same time, each with a database connection of its own.
OPENING_THREADS = 4
# From the connection to a complete request. Behind a proxy it comes at once.
REQUEST_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 5
STOP_SECONDS = 8


class _Handler(BaseHandler):
    """Django without a server around it."""

    def __init__(self) -> None:
        super().__init__()
        self.load_middleware()

    def answer(self, scope: Message) -> HttpResponse:
        """The response to a request, without its body. For a thread."""
        signals.request_started.send(sender=type(self), scope=scope)
        request = ASGIRequest(scope, io.BytesIO())
        request.urlconf = URLS
        response = cast("HttpResponse", self.get_response(request))
        # Ends the request as well: a stream holds nothing of it.
        response.close()
        return response


class Application:
    """ASGI: the responses of `_Handler`, those with events kept open."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._handler = _Handler()
        self._openings = ThreadPoolExecutor(OPENING_THREADS, "opening")
        # So that each page answers while openings and the other pages wait for PostgreSQL.
        self._probes = {path: ThreadPoolExecutor(1, "probe") for path in settings.PROBE_PATHS}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        thread = self._probes.get(scope["path"], self._openings)
        loop = asyncio.get_running_loop()
        response = await loop.run_in_executor(thread, self._handler.answer, scope)
        stream = None
        if isinstance(response, EventsResponse) and scope["method"] == "GET":
            stream = self._hub.add(response.opening)
        await _start(response, send, is_open=stream is not None)
        body = response.content
        # A stream may last for a quarter of an hour.
        del response
        if stream is None:
            await send({"type": "http.response.body", "body": body})
            return
        await send({"type": "http.response.body", "body": body, "more_body": True})
        del body
        try:
            await self._continue(stream, receive, send)
        finally:
            self._hub.remove(stream)

    async def _continue(self, stream: Stream, receive: Receive, send: Send) -> None:
        watching = asyncio.get_running_loop().create_task(_watch(stream, receive))
        while part := await stream.next_part():
            await send({"type": "http.response.body", "body": part, "more_body": True})
        watching.cancel()
        if not stream.is_gone:
            await send({"type": "http.response.body", "body": stream.last_part()})


async def _watch(stream: Stream, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.disconnect()


async def _start(response: HttpResponse, send: Send, *, is_open: bool) -> None:
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in response.items()
        if not (is_open and name == "Content-Length")
    ]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})


class _Protocol(H11Protocol):
    """uvicorn's, with time limits: REQUEST_SECONDS for a client that sends no request, and
    WEB_READER_SECONDS for one that does not read, whose stream could not even end."""

    _abort_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(REQUEST_SECONDS, self._close_if_silent)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._abort_timer = self.loop.call_later(settings.WEB_READER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel_abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._cancel_abort()

    def _cancel_abort(self) -> None:
        if self._abort_timer:
            self._abort_timer.cancel()
            self._abort_timer = None

    def _close_if_silent(self) -> None:
        if self.cycle is None:
            self.transport.close()


class Server(uvicorn.Server):
    """Says to all streams when to come back before it ends."""

    hub: Hub

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.hub.stop()
        self.should_exit = True


async def serve(*, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    raise_descriptor_limit()
    hub = Hub()
    server = Server(
        uvicorn.Config(
            Application(hub),
            host=host,
            port=port,
            http=_Protocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            interface="asgi3",
            # Who called is read by rendio.common.web.forwarded.
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            backlog=2048,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
    )
    server.hub = hub
    hub.start()
    revocations.start()
    heartbeats.for_events.start()
    # What is imported stays: collections need not look at it again.
    gc.collect()
    gc.freeze()
    await server.serve()
    hub.end()
    heartbeats.for_events.stop()


def raise_descriptor_limit() -> None:
    """Each stream is a connection. The usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
