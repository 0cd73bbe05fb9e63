"""A stand-in for fal that answers at once: `python -m bench.instant_provider PORT`.

Accepts each submission and reports it as finished at the first question; the result is the file at
`--media-url`. One process, not included in any figure, and as cheap as possible: it parses no more
of a request than its line and its length. `FAL_URL` is then `http://127.0.0.1:PORT`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
from functools import partial

_numbers = itertools.count()


class _Connection(asyncio.Protocol):
    """Answers the requests of one connection, in order, each after `delay_seconds`."""

    def __init__(self, url: str, delay_seconds: float, media_url: str) -> None:
        self._url = url
        self._delay_seconds = delay_seconds
        self._media_url = media_url
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (request := self._next_request()) is not None:
            answer = self._answer(*request)
            if self._delay_seconds:
                asyncio.get_running_loop().call_later(self._delay_seconds, self._send, answer)
            else:
                self._send(answer)

    def _next_request(self) -> tuple[bytes, bytes] | None:
        """The method and path of a complete request, taken out of the buffer."""
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        _, has_body, length = head.lower().partition(b"content-length:")
        size = int(length.split(b"\r\n")[0]) if has_body else 0
        if not found or len(rest) < size:
            return None
        self._buffer = rest[size:]
        method, path, _ = head.split(b" ", 2)
        return method, path.partition(b"?")[0]

    def _answer(self, method: bytes, path: bytes) -> bytes:
        if method == b"POST":
            name = f"instant-{next(_numbers)}"
            base = f"{self._url}{path.decode()}/requests/{name}"
            body = (
                f'{{"status": "IN_QUEUE", "request_id": "{name}", "queue_position": 0,'
                f' "status_url": "{base}/status", "response_url": "{base}",'
                f' "cancel_url": "{base}/cancel"}}'
            )
        elif path.endswith(b"/status"):
            body = '{"status": "COMPLETED"}'
        else:
            body = f'{{"video": {{"url": "{self._media_url}"}}}}'
        return (
            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            f"\r\n\r\n{body}"
        ).encode()

    def _send(self, answer: bytes) -> None:
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.write(answer)


async def serve(port: int, *, delay_seconds: float, media_url: str) -> None:
    connection = partial(_Connection, f"http://127.0.0.1:{port}", delay_seconds, media_url)
    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.instant_provider", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--delay-ms", type=float, default=0, help="of each answer (default 0)")
    parser.add_argument("--media-url", default="", help="of every result")
    options = parser.parse_args()
    asyncio.run(
        serve(options.port, delay_seconds=options.delay_ms / 1000, media_url=options.media_url)
    )


if __name__ == "__main__":
    main()
