"""The media host of a fake provider: the result files, with byte ranges."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sandbox.connections import Connections, wait_for_disconnect
from sandbox.fake_provider.downloads import UnusableSource
from sandbox.fake_provider.jobs import Job, Jobs
from sandbox.fake_provider.media import MediaRenderer
from sandbox.fake_provider.outcomes import Outcome
from sandbox.fake_provider.specs import Spec, VideoSpec, WeightsSpec, file_name, media_type

ENCODERS = {Outcome.MEDIA_UNPLAYABLE: "libvpx-vp9", Outcome.MEDIA_MISTAGGED: "libx265"}
HUGE_BYTES = 2 * 1024**3
CHUNK_BYTES = 1024**2
NOT_A_VIDEO = b"<!doctype html><title>Not a video</title><p>This page only claims to be one.</p>\n"


class MediaFiles:
    def __init__(
        self, *, prefix: str, jobs: Jobs, renderer: MediaRenderer, connections: Connections
    ) -> None:
        self._prefix = prefix
        self._jobs = jobs
        self._renderer = renderer
        self._connections = connections

    def routes(self) -> list[Route]:
        path = self._prefix + "/{request_id}/{name}"
        return [Route(path, self.get, methods=["GET", "HEAD"])]

    async def get(self, request: Request) -> Response:
        job = self._jobs.find(request.path_params["request_id"])
        spec = _find_spec(job, request.path_params["name"]) if job else None
        if job is None or spec is None or job.scenario.outcome is Outcome.MEDIA_404:
            return PlainTextResponse("Not Found", status_code=404)
        if job.scenario.outcome is Outcome.FIRST_MEDIA_404 and spec == job.specs[0]:
            return PlainTextResponse("Not Found", status_code=404)
        if isinstance(spec, WeightsSpec) and spec.is_tar and not _has_key(request):
            return PlainTextResponse("Unauthorized", status_code=401)
        if job.scenario.outcome is Outcome.MEDIA_REDIRECT and "moved" not in request.query_params:
            return RedirectResponse(f"{request.url.path}?moved=1", status_code=302)
        if isinstance(spec, VideoSpec) and (encoder := ENCODERS.get(job.scenario.outcome)):
            spec = replace(spec, encoder=encoder)
        try:
            content = await self._renderer.render(spec)
        except UnusableSource:
            return PlainTextResponse("Not Found", status_code=404)
        kind = media_type(spec)
        match job.scenario.outcome:
            case Outcome.MEDIA_TRUNCATED:
                return TruncatedResponse(content, kind, self._connections)
            case Outcome.MEDIA_HUGE:
                return StreamingResponse(_endless_body(content), media_type=kind)
            case Outcome.MEDIA_NOT_VIDEO:
                content = NOT_A_VIDEO
        return range_response(content, kind, request.headers.get("range", ""))


class TruncatedResponse(Response):
    """Announces the whole content, sends half and drops the connection."""

    def __init__(self, content: bytes, media_type: str, connections: Connections) -> None:
        super().__init__(content, media_type=media_type)
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        half = bytes(self.body)[: len(self.body) // 2]
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        await send({"type": "http.response.body", "body": half, "more_body": True})
        self._connections.close(scope)
        await wait_for_disconnect(receive)


async def _endless_body(content: bytes) -> AsyncIterator[bytes]:
    """Yield the content, then zeros up to HUGE_BYTES.

    The response has no Content-Length, so a client that checks only the header would download
    everything.
    """
    yield content
    for _ in range(HUGE_BYTES // CHUNK_BYTES):
        yield bytes(CHUNK_BYTES)
        # Sending to a disconnected client returns at once. The pause lets the disconnect be
        # noticed.
        await asyncio.sleep(0)


def range_response(content: bytes, media_type: str, range_header: str) -> Response:
    """Return the whole content or a single range. Several ranges get the whole content, as HTTP
    allows."""
    headers = {"Accept-Ranges": "bytes"}
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", range_header.strip())
    if match is None or match.groups() == ("", ""):
        return Response(content, media_type=media_type, headers=headers)
    size = len(content)
    first, last = match.groups()
    if first:
        start, end = int(first), min(int(last), size - 1) if last else size - 1
    else:
        start, end = max(size - int(last), 0), size - 1
    if last and first and int(last) < int(first):
        # An invalid range is ignored.
        return Response(content, media_type=media_type, headers=headers)
    if start >= size:
        headers["Content-Range"] = f"bytes */{size}"
        return Response(status_code=416, headers=headers)
    headers["Content-Range"] = f"bytes {start}-{end}/{size}"
    return Response(
        content[start : end + 1], status_code=206, media_type=media_type, headers=headers
    )


def _has_key(request: Request) -> bool:
    return request.headers.get("authorization", "").startswith("Bearer ")


def _find_spec(job: Job, name: str) -> Spec | None:
    if job.has_failed:
        return None
    names = {file_name(number, spec): spec for number, spec in enumerate(job.specs)}
    return names.get(name)
