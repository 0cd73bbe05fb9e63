"""`python -m bench.listeners`: what open event streams cost, and how late events come.

One stream for each of many users, all in one events process; then webhooks of the provider, each
timed to the event that its user gets; then streams that are opened and broken again and again.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import django
import requests
from rich.console import Console

from bench import idle, process_tree, stage
from bench.instant_provider import Outcome, webhook_body, webhook_headers
from bench.tables import Grid
from rendio.local import ports
from rendio.local.data_dir import DataDir
from rendio.local.servers import ServerFailed
from rendio.local.stack import Command, Stack
from rendio.local.wait import answers, wait_until

if TYPE_CHECKING:
    from bench.world import World

# The first streams also make what the process keeps: code, connections.
WARM = 100
OPENED_AT_ONCE = 50
IDLE_SECONDS = 20.0
WEBHOOKS, WEBHOOKS_PER_SECOND = 300, 10
TIMEOUT_SECONDS = 60
_STATUS = re.compile(rb'event: status\nid: ([\w-]+)\ndata: \{"job_id":"([0-9a-f-]{36})"')


@dataclass(frozen=True)
class Listening:
    """Of one events process. `memory_kb` and `cpu_us_per_second` are of one stream, the latter
    without events; `latencies_ms` are from sending a webhook to its event; `open_files` and
    `memory_mb` are before and after the reconnects."""

    streams: int
    memory_kb: float
    cpu_us_per_second: float
    opening_cpu_us: float
    latencies_ms: list[float]
    reconnects: int
    open_files: tuple[int, int]
    memory_mb: tuple[float, float]


class _Listener(asyncio.Protocol):
    """One stream. Calls `on_status` with the job of each status event."""

    def __init__(self, token: str, last_id: str, on_status: Callable[[str], object]) -> None:
        self._head = (
            "GET /v1/events HTTP/1.1\r\nHost: bench\r\n"
            f"Authorization: Bearer {token}\r\n"
            + (f"Last-Event-ID: {last_id}\r\n" if last_id else "")
            + "\r\n"
        ).encode()
        self._on_status = on_status
        self._unread = b""
        self.last_id = last_id
        self.has_answer = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self.transport = transport
        transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        if not self.has_answer.done():
            if not data.startswith(b"HTTP/1.1 200"):
                self.has_answer.set_exception(ServerFailed(data[:300].decode()))
                return
            self.has_answer.set_result(None)
        self._unread += data
        for match in _STATUS.finditer(self._unread):
            self.last_id = match[1].decode()
            self._on_status(match[2].decode())
        self._unread = self._unread[-200:] if b"\n\n" not in self._unread[-200:] else b""


async def _open(
    port: int, token: str, on_status: Callable[[str], object], *, last_id: str = ""
) -> _Listener:
    _, listener = await asyncio.get_running_loop().create_connection(
        lambda: _Listener(token, last_id, on_status), "127.0.0.1", port
    )
    await listener.has_answer
    return listener


async def _open_all(
    port: int, tokens: Sequence[str], on_status: Callable[[str], object]
) -> list[_Listener]:
    opened: list[_Listener] = []
    for at in range(0, len(tokens), OPENED_AT_ONCE):
        some = tokens[at : at + OPENED_AT_ONCE]
        opened += await asyncio.gather(*(_open(port, token, on_status) for token in some))
    return opened


def start_events(stack: Stack) -> None:
    """Raises ServerFailed."""
    stack.start("events")
    if not wait_until(lambda: answers(f"{stack.events_url}/readyz"), timeout_seconds=60):
        raise ServerFailed("The events process does not start.")


def measure(
    stack: Stack, world: World, *, provider_url: str, streams: int, webhooks: int, reconnects: int
) -> Listening:
    """The stack's web, events and workers run, and the provider's stand-in. Raises ServerFailed if
    a stream is refused or an event does not come."""
    _raise_descriptor_limit()
    # It accepts jobs, and never finishes them.
    control = {"outcome": Outcome.NEVER.value, "delay_ms": "0"}
    requests.post(f"{provider_url}/control", params=control, timeout=30)
    return asyncio.run(_measure(stack, world, streams, webhooks, reconnects))


async def _measure(
    stack: Stack, world: World, streams: int, webhooks: int, reconnects: int
) -> Listening:
    pid = stack.children["events"].pid
    if pid is None:
        raise ServerFailed("The events process does not run.")
    port = stack.events_port
    tokens = [*islice(cycle(map(world.token_of, world.users)), streams)]
    told: dict[str, list[float]] = {}

    def on_status(job_id: str) -> None:
        told.setdefault(job_id, []).append(time.monotonic())

    opened = await _open_all(port, tokens[:WARM], on_status)
    before = process_tree.memory_mb(pid)
    opened += await _open_all(port, tokens[WARM:], on_status)
    await asyncio.sleep(2)
    memory = process_tree.memory_mb(pid) - before
    cpu = process_tree.cpu_seconds(pid)
    await asyncio.sleep(IDLE_SECONDS)
    idle_cpu = process_tree.cpu_seconds(pid) - cpu
    latencies = await _time_webhooks(stack, world, webhooks, told)
    for listener in opened:
        listener.transport.abort()
    await asyncio.sleep(2)
    files, used = _open_files(pid), process_tree.memory_mb(pid)
    cpu = process_tree.cpu_seconds(pid)
    await _reconnect(port, tokens, reconnects, on_status)
    opening_cpu = process_tree.cpu_seconds(pid) - cpu
    await asyncio.sleep(2)
    return Listening(
        streams=streams,
        memory_kb=memory * 1024 / (streams - WARM),
        cpu_us_per_second=idle_cpu * 1e6 / IDLE_SECONDS / streams,
        opening_cpu_us=opening_cpu * 1e6 / max(reconnects, 1),
        latencies_ms=sorted(latencies),
        reconnects=reconnects,
        open_files=(files, _open_files(pid)),
        memory_mb=(used, process_tree.memory_mb(pid)),
    )


async def _time_webhooks(
    stack: Stack, world: World, count: int, told: dict[str, list[float]]
) -> list[float]:
    """Milliseconds from sending the webhook of a job to the event that its user gets."""
    submitted = await asyncio.to_thread(_submit_jobs, stack, world, count)
    sent: dict[str, float] = {}
    for job_id, request_id, token in submitted:
        told.pop(job_id, None)
        sent[job_id] = time.monotonic()
        pause = asyncio.sleep(1 / WEBHOOKS_PER_SECOND)
        await asyncio.gather(pause, asyncio.to_thread(_send_webhook, stack.url, request_id, token))
    give_up_at = time.monotonic() + TIMEOUT_SECONDS
    while not sent.keys() <= told.keys():
        if time.monotonic() > give_up_at:
            raise ServerFailed(f"{len(sent.keys() - told.keys())} events did not come.")
        await asyncio.sleep(0.05)
    return [(told[job_id][0] - at) * 1000 for job_id, at in sent.items()]


def _submit_jobs(stack: Stack, world: World, count: int) -> list[tuple[str, str, str]]:
    """Order jobs, one for each of so many users; return each job, the provider's id of its
    submission, and the token of its webhook, once the provider has accepted it."""
    from django.db import connection

    from generation.models import Job, ProviderRequest, Stage

    jobs = [idle.order(stack.url, world, number) for number in range(count)]
    accepted = Job.objects.filter(id__in=jobs, stage=Stage.QUEUED)
    if not wait_until(lambda: accepted.count() == count, timeout_seconds=TIMEOUT_SECONDS):
        raise ServerFailed("The workers do not submit the jobs.")
    found = ProviderRequest.objects.filter(job_id__in=jobs).values_list(
        "job_id", "provider_request_id", "webhook_token"
    )
    rows = [(str(job_id), request_id, token) for job_id, request_id, token in found]
    connection.close()
    return rows


def _send_webhook(url: str, request_id: str, token: str) -> None:
    body = webhook_body(request_id)
    answer = requests.post(
        f"{url}/webhooks/fal",
        params={"token": token},
        data=body,
        headers=webhook_headers(request_id, body) | {"Content-Type": "application/json"},
        timeout=60,
    )
    answer.raise_for_status()


async def _reconnect(
    port: int, tokens: Sequence[str], count: int, on_status: Callable[[str], object]
) -> None:
    """Open streams, and break each after its first part."""
    last_ids: dict[str, str] = {}
    left = iter(islice(cycle(tokens), count))

    async def client() -> None:
        for token in left:
            listener = await _open(port, token, on_status, last_id=last_ids.get(token, ""))
            last_ids[token] = listener.last_id
            listener.transport.abort()

    await asyncio.gather(*(client() for _ in range(OPENED_AT_ONCE)))


def grid(found: Listening) -> Grid:
    latencies = found.latencies_ms
    rows = [
        ["memory of a stream, kB", f"{found.memory_kb:.1f}"],
        ["CPU of an idle stream, µs a second", f"{found.cpu_us_per_second:.1f}"],
        ["CPU to open a stream, ms", f"{found.opening_cpu_us / 1000:.2f}"],
        ["from webhook to event, median, ms", f"{statistics.median(latencies):.0f}"],
        ["from webhook to event, p99, ms", f"{latencies[int(0.99 * (len(latencies) - 1))]:.0f}"],
        [f"open files before and after {found.reconnects:,} reconnects", _pair(found.open_files)],
        ["memory before and after, MB", _pair(found.memory_mb)],
    ]
    return Grid(f"{found.streams:,} event streams in one process", ["", ""], rows)


def _pair(numbers: tuple[float, float]) -> str:
    return f"{numbers[0]:.0f}, {numbers[1]:.0f}"


def _open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.listeners", description=__doc__)
    parser.add_argument("--streams", type=int, default=2000, help="open at once (default 2000)")
    parser.add_argument(
        "--webhooks", type=int, default=WEBHOOKS, help=f"to time (default {WEBHOOKS})"
    )
    parser.add_argument("--reconnects", type=int, default=50_000, help="(default 50000)")
    options = parser.parse_args()
    console = Console(highlight=False)
    return stage.run(
        "listeners", lambda data_dir, started: _run(data_dir, options, console, started), console
    )


def _run(
    data_dir: DataDir, options: argparse.Namespace, console: Console, started: ExitStack
) -> int:
    stage.start_servers(data_dir, started)
    provider_url = f"http://127.0.0.1:{ports.reserve_any()}"
    os.environ |= {"SANDBOX_URL": provider_url, "POLL_FIRST_SECONDS": "600"}
    stack = Stack(data_dir=data_dir, env=os.environ)
    os.environ |= {"PUBLIC_URL": stack.url, "DJANGO_SETTINGS_MODULE": "rendio.settings"}
    django.setup()
    from bench.world import World  # not before the settings know these servers

    world = World(users=options.streams)
    started.callback(stack.stop)
    port = str(urlsplit(provider_url).port)
    stack.commands["sandbox"] = Command(
        "sandbox", [sys.executable, "-m", "bench.instant_provider", port]
    )
    idle.add_workers(stack)
    stack.start("sandbox", "web", "worker-high", "worker-low")
    stage.wait_until_ready(stack)
    start_events(stack)
    found = measure(
        stack,
        world,
        provider_url=provider_url,
        streams=options.streams,
        webhooks=options.webhooks,
        reconnects=options.reconnects,
    )
    console.print(grid(found).as_table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
