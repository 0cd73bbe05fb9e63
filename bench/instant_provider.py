"""A stand-in for fal, and for Apple's DeviceCheck, that answers at once:
`python -m bench.instant_provider PORT`.

Every submission is finished as soon as it is accepted; the webhook that its URL asks for follows.
One process, not included in any figure, and as cheap as possible: it parses no more of a request
than its first line and its length. `SANDBOX_URL` is then `http://127.0.0.1:PORT`.

`POST /control?outcome=failure&delay_ms=50` sets what becomes of jobs, and how long each answer
takes.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum
from functools import cached_property, partial
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

# The same in each process: the benchmark signs webhooks too.
_KEY = Ed25519PrivateKey.from_private_bytes(sha256(b"bench").digest())
_USER_ID = "sandbox-user"
NEVER_SET = b"Failed to find bit state"
# The job failed because of its input: not retried, and refunded.
FAILURE = {"detail": [{"loc": ["body"], "msg": "Invalid input", "type": "value_error"}]}
WEBHOOK_CONNECTIONS = 8


def webhook_headers(request_id: str, body: bytes) -> dict[str, str]:
    """The headers of a webhook that is signed now."""
    timestamp = str(int(time.time()))
    message = "\n".join([request_id, _USER_ID, timestamp, sha256(body).hexdigest()])
    return {
        "X-Fal-Webhook-Request-Id": request_id,
        "X-Fal-Webhook-User-Id": _USER_ID,
        "X-Fal-Webhook-Timestamp": timestamp,
        "X-Fal-Webhook-Signature": _KEY.sign(message.encode()).hex(),
    }


def webhook_body(request_id: str) -> bytes:
    return json.dumps({"request_id": request_id, "status": "OK", "payload": {}}).encode()


class Outcome(StrEnum):
    """What becomes of every job."""

    VIDEO = "video"
    FAILURE = "failure"
    NEVER = "never"  # the job does not finish, and no webhook is sent


class _Provider:
    """The answers, and the webhooks to send."""

    def __init__(self, port: int) -> None:
        self.delay_seconds = 0.0
        self._outcome = Outcome.VIDEO
        self._origin = f"http://127.0.0.1:{port}"
        self._numbers = itertools.count()
        self._prefix = f"{time.time_ns():x}"
        public = urlsafe_b64encode(_KEY.public_key().public_bytes_raw()).rstrip(b"=").decode()
        self._key_set = {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": public}]}
        self.webhooks: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    @cached_property
    def _video(self) -> bytes:
        from sandbox.fake_provider.media import render_video
        from sandbox.fake_provider.specs import VideoSpec, size_for_ratio

        return render_video(VideoSpec("A red balloon over the sea", 4, *size_for_ratio((16, 9))))

    def answer(self, method: str, target: str) -> bytes:
        path, _, query = target.partition("?")
        if path == "/control":
            self._set(**{name: values[0] for name, values in parse_qs(query).items()})
            return _response({})
        if path.startswith("/apple/"):
            return _response(NEVER_SET, content_type="text/plain")
        if path == "/fal/jwks.json":
            return _response(self._key_set)
        if path == "/fal/files/video.mp4":
            return _response(self._video, content_type="video/mp4")
        if method == "POST":
            return _response(self._accept(path, query))
        if path.endswith("/status"):
            return _response(
                {"status": "IN_QUEUE" if self._outcome is Outcome.NEVER else "COMPLETED"}
            )
        if self._outcome is Outcome.FAILURE:
            return _response(FAILURE, status="422 Unprocessable Entity")
        return _response({"video": {"url": f"{self._origin}/fal/files/video.mp4"}})

    def _set(self, *, outcome: str, delay_ms: str) -> None:
        self._outcome, self.delay_seconds = Outcome(outcome), float(delay_ms) / 1000

    def _accept(self, path: str, query: str) -> dict[str, object]:
        request_id = f"{self._prefix}-{next(self._numbers)}"
        if self._outcome is not Outcome.NEVER and (webhook := parse_qs(query).get("fal_webhook")):
            self.webhooks.put_nowait((webhook[0], request_id))
        base = f"{self._origin}{path}/requests/{request_id}"
        return {
            "status": "IN_QUEUE",
            "request_id": request_id,
            "queue_position": 0,
            "status_url": f"{base}/status",
            "response_url": base,
            "cancel_url": f"{base}/cancel",
        }


class _Connection(asyncio.Protocol):
    """Answers the requests of one connection, each after the provider's delay."""

    def __init__(self, provider: _Provider) -> None:
        self._provider = provider
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while request := self._next_request():
            loop = asyncio.get_running_loop()
            loop.call_later(self._provider.delay_seconds, self._send, *request)

    def _next_request(self) -> tuple[str, str] | None:
        """The method and target of a complete request, taken out of the buffer."""
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        _, has_body, length = head.lower().partition(b"content-length:")
        size = int(length.split(b"\r\n")[0]) if has_body else 0
        if not found or len(rest) < size:
            return None
        self._buffer = rest[size:]
        method, target, _ = head.decode().split(" ", 2)
        return method, target

    def _send(self, method: str, target: str) -> None:
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.write(self._provider.answer(method, target))


def _response(
    body: bytes | Mapping[str, object],
    *,
    status: str = "200 OK",
    content_type: str = "application/json",
) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(content)}"
        "\r\n\r\n"
    )
    return head.encode() + content


async def _send_webhooks(provider: _Provider) -> None:
    """Send webhooks one after another over a connection that is kept open."""
    address, reader, writer = None, None, None
    while True:
        url, request_id = await provider.webhooks.get()
        parts = urlsplit(url)
        if reader is None or writer is None or address != (parts.hostname, parts.port):
            address = (parts.hostname, parts.port)
            reader, writer = await asyncio.open_connection(*address)
        body = webhook_body(request_id)
        lines = [
            f"POST {parts.path}?{parts.query} HTTP/1.1",
            f"Host: {parts.netloc}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in webhook_headers(request_id, body).items()),
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            _, has_length, length = head.partition(b"content-length:")
            if has_length:
                await reader.readexactly(int(length.split(b"\r\n")[0]))
            else:
                await reader.readuntil(b"0\r\n\r\n")  # sent in chunks
        except (asyncio.IncompleteReadError, ConnectionError):
            # The server is stopping: the job is polled, as after any lost webhook.
            writer.close()
            reader = writer = None


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[None]:
    provider = _Provider(port)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(_Connection, provider), "127.0.0.1", port)
    senders = [
        asyncio.create_task(_send_webhooks(provider)) for _number in range(WEBHOOK_CONNECTIONS)
    ]
    try:
        async with server:
            yield
    finally:
        for sender in senders:
            sender.cancel()


async def serve(port: int) -> None:
    async with listening(port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
