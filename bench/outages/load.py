"""Load generator of `bench.outages`: `python -m bench.outages.load` with a plan on standard input,
one line of JSON for each call on standard output.

Open loop: each call is sent at its planned time on a connection of its own, however long earlier
calls take. A closed loop would send less while the servers hang, and hide the outage.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from uuid import uuid4

LIMIT_SECONDS = 10.0
# In a header: replaced by a new UUID.
FRESH_ID = "{fresh-id}"
CODE = re.compile(rb'"code": ?"(ERR_\d+)"')


@dataclass(frozen=True)
class Call:
    """One kind of call: `requests` are its variants, each `(first line, headers, body)`."""

    kind: str
    per_second: int
    requests: list[tuple[str, list[str], str]]


@dataclass(frozen=True)
class Plan:
    port: int
    seconds: int
    calls: list[Call]
    # When the first call is sent, as time.time().
    starts_at: float


@dataclass(frozen=True)
class Sent:
    """The result of one call. `status` is 0 if no response came within LIMIT_SECONDS."""

    kind: str
    at: float
    seconds: float
    status: int
    code: str


async def drive(plan: Plan) -> list[Sent]:
    schedule = sorted(
        (second + random.random(), call)  # noqa: S311
        for call in plan.calls
        for second in range(plan.seconds)
        for _ in range(call.per_second)
    )
    running = []
    for at, call in schedule:
        await asyncio.sleep(max(0.0, plan.starts_at + at - time.time()))
        running.append(asyncio.create_task(_send(plan.port, call, at)))
    return await asyncio.gather(*running)


async def _send(port: int, call: Call, at: float) -> Sent:
    began = time.monotonic()
    status, code = 0, ""
    with suppress(OSError, TimeoutError, ValueError):
        async with asyncio.timeout(LIMIT_SECONDS):
            status, code = await _ask(port, _bytes(*random.choice(call.requests)))  # noqa: S311
    return Sent(call.kind, round(at, 3), round(time.monotonic() - began, 3), status, code)


async def _ask(port: int, request: bytes) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        answer = await reader.read()
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1]) if head else 0
    code = CODE.search(body) if status >= 400 else None
    return status, code[1].decode() if code else ""


def _bytes(first_line: str, headers: list[str], body: str) -> bytes:
    lines = [first_line, *headers, "Connection: close"]
    if body:
        lines.append(f"Content-Length: {len(body.encode())}")
    return "\r\n".join([*lines, "", body]).replace(FRESH_ID, str(uuid4())).encode()


def main() -> None:
    plan = json.load(sys.stdin)
    calls = [Call(**call) for call in plan.pop("calls")]
    for sent in asyncio.run(drive(Plan(**plan, calls=calls))):
        sys.stdout.write(json.dumps(asdict(sent)) + "\n")


if __name__ == "__main__":
    main()
