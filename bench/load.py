"""The load generator: `python -m bench.load` with a plan on standard input.

A process of its own, and as cheap as possible, since it shares the machine with the measured
processes. It sends prepared requests over open connections and reads only the status and length of
responses.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import cast
from uuid import uuid4

from rendio.local.data_dir import PROJECT

# In a request: where each sending puts an Idempotency-Key of its own.
FRESH_KEY = b"{fresh-key}"
# For the responses that are still due at the end.
LAST_RESPONSES_SECONDS = 30


@dataclass(frozen=True)
class Plan:
    """`requests` are complete HTTP requests; each sending takes one at random.

    Without a `rate` each connection sends the next request as soon as the previous one is answered
    (closed loop). With a `rate`, that many are sent each second, however long the responses take
    (open loop): a request that finds no free connection waits, and its latency includes the wait.
    A `count` above 0 ends the load after that many requests, or after `seconds` if that is sooner.
    """

    port: int
    connections: int
    seconds: float
    requests: list[str]
    count: int = 0
    rate: float = 0


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


class _Load:
    """Decides which connection sends when, and collects the latencies."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._requests = [request.encode() for request in plan.requests]
        self._sent = 0
        self._free: list[_Connection] = []
        self._waiting_since: deque[float] = deque()
        self.has_ended = False
        self.latencies_ms: list[float] = []
        self.errors = 0
        self.first_error = ""

    async def run(self) -> Result:
        started = time.perf_counter()
        self._ends_at = started + self._plan.seconds
        loop = asyncio.get_running_loop()
        connections = [_Connection(self) for _number in range(self._plan.connections)]
        for connection in connections:
            # B023: the factory is called before the next turn of the loop.
            await loop.create_connection(lambda: connection, "127.0.0.1", self._plan.port)  # noqa: B023
        if self._plan.rate:
            await self._arrive(started)
        await asyncio.wait(
            [connection.ended for connection in connections],
            timeout=max(self._ends_at - time.perf_counter(), 0) + LAST_RESPONSES_SECONDS,
        )
        return Result(
            requests=len(self.latencies_ms),
            errors=self.errors,
            seconds=time.perf_counter() - started,
            latencies_ms=self.latencies_ms,
            first_error=self.first_error,
        )

    async def _arrive(self, started: float) -> None:
        number = 0
        while not self._is_over():
            number += 1
            if self._free:
                self._send(self._free.pop(), time.perf_counter())
            else:
                self._waiting_since.append(time.perf_counter())
            await asyncio.sleep(max(started + number / self._plan.rate - time.perf_counter(), 0))
        self.has_ended = True
        for connection in self._free:
            connection.close()

    def on_free(self, connection: _Connection) -> None:
        if self._waiting_since:
            self._send(connection, self._waiting_since.popleft())
        elif self._plan.rate and not self.has_ended:
            self._free.append(connection)
        elif self._plan.rate or self._is_over():
            self.has_ended = True
            connection.close()
        else:
            self._send(connection, time.perf_counter())

    def fail(self, problem: str) -> None:
        self.errors += 1
        self.first_error = self.first_error or problem

    def _is_over(self) -> bool:
        is_counted_out = 0 < self._plan.count <= self._sent + len(self._waiting_since)
        return is_counted_out or time.perf_counter() >= self._ends_at

    def _send(self, connection: _Connection, since: float) -> None:
        self._sent += 1
        request = random.choice(self._requests)  # noqa: S311
        connection.send(request.replace(FRESH_KEY, str(uuid4()).encode()), since)


class _Connection(asyncio.Protocol):
    def __init__(self, load: _Load) -> None:
        self._load = load
        self.ended = asyncio.get_running_loop().create_future()
        self._buffer = b""
        self._since = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._load.on_free(self)

    def send(self, request: bytes, since: float) -> None:
        self._since = since
        if self._transport:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or not _is_whole(head, body):
            return
        self._buffer = b""
        self._load.latencies_ms.append((time.perf_counter() - self._since) * 1000)
        if not head.startswith(b"HTTP/1.1 200"):
            problem = head.partition(b"\r\n")[0] + b" " + body
            self._load.fail(problem.decode(errors="replace"))
        self._load.on_free(self)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._load.has_ended:
            self._load.fail("the server closed the connection")
        self.ended.set_result(None)

    def close(self) -> None:
        if self._transport:
            self._transport.close()


def _is_whole(head: bytes, body: bytes) -> bool:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(body) >= int(value)
    return body.endswith(b"0\r\n\r\n")  # sent in chunks


def drive(plan: Plan) -> Result:
    """Run the load generator as a process and wait for its end."""
    ran = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(asdict(plan)),
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Result.from_json(ran.stdout)


async def run(plan: Plan) -> Result:
    """Send the plan's requests from this process."""
    return await _Load(plan).run()


def main() -> None:
    plan = Plan(**json.load(sys.stdin))
    json.dump(asdict(asyncio.run(run(plan))), sys.stdout)


if __name__ == "__main__":
    main()
