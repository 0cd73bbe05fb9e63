"""The load generator: `python -m bench.load` with a plan on standard input.

A process of its own, and as cheap as possible, since it shares the machine with the measured
processes. It sends prepared requests over open connections, each as soon as the previous one is
answered, and reads only the status and length of responses.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import cast
from uuid import uuid4

# In a request: where each sending puts an Idempotency-Key of its own.
FRESH_KEY = b"{fresh-key}"


@dataclass(frozen=True)
class Plan:
    """`requests` are complete HTTP requests; each sending takes one at random."""

    port: int
    connections: int
    seconds: float
    requests: list[str]


@dataclass(frozen=True)
class Result:
    requests: int
    errors: int
    seconds: float
    latencies_ms: list[float]
    first_error: str

    @classmethod
    def from_json(cls, text: str) -> Result:
        return cls(**json.loads(text))


class _Connection(asyncio.Protocol):
    """Sends requests of random phones on one connection until `ends_at`."""

    def __init__(self, requests: list[bytes], ends_at: float) -> None:
        self._requests = requests
        self._ends_at = ends_at
        self.ended = asyncio.get_running_loop().create_future()
        self._buffer = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None
        self.latencies_ms: list[float] = []
        self.errors = 0
        self.first_error = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or not _is_whole(head, body):
            return
        self._buffer = b""
        self.latencies_ms.append((time.perf_counter() - self._sent_at) * 1000)
        if not head.startswith(b"HTTP/1.1 200"):
            self._fail((head.partition(b"\r\n")[0] + b" " + body).decode(errors="replace"))
        if time.perf_counter() < self._ends_at:
            self._send()
        elif self._transport:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if time.perf_counter() < self._ends_at:
            self._fail("the server closed the connection")
        self.ended.set_result(None)

    def _send(self) -> None:
        request = random.choice(self._requests)  # noqa: S311
        self._sent_at = time.perf_counter()
        if self._transport:
            self._transport.write(request.replace(FRESH_KEY, str(uuid4()).encode()))

    def _fail(self, what: str) -> None:
        self.errors += 1
        self.first_error = self.first_error or what


def _is_whole(head: bytes, body: bytes) -> bool:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(body) >= int(value)
    return body.endswith(b"0\r\n\r\n")  # sent in chunks


async def drive(plan: Plan) -> Result:
    requests = [request.encode() for request in plan.requests]
    started = time.perf_counter()
    connections = [
        _Connection(requests, started + plan.seconds) for _number in range(plan.connections)
    ]
    loop = asyncio.get_running_loop()
    for connection in connections:
        await loop.create_connection(partial(_itself, connection), "127.0.0.1", plan.port)
    await asyncio.wait([one.ended for one in connections], timeout=plan.seconds + 10)
    return Result(
        requests=sum(len(connection.latencies_ms) for connection in connections),
        errors=sum(connection.errors for connection in connections),
        seconds=time.perf_counter() - started,
        latencies_ms=[one for connection in connections for one in connection.latencies_ms],
        first_error=next(filter(None, (c.first_error for c in connections)), ""),
    )


def _itself(connection: _Connection) -> _Connection:
    return connection


def main() -> None:
    plan = Plan(**json.load(sys.stdin))
    json.dump(asdict(asyncio.run(drive(plan))), sys.stdout)


if __name__ == "__main__":
    main()
