"""`python -m bench.idle`: CPU time of a minute without traffic, memory, and the wait of an order.

Starts a stack of its own with every process of the Procfile: web, the workers, beat and Flower.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import django
import requests
from django.db import connection
from rich.console import Console

from bench import process_tree, stage
from bench.tables import Grid
from rendio.local import ports
from rendio.local.data_dir import DataDir
from rendio.local.servers import PostgreSQL, ServerFailed, Valkey
from rendio.local.stack import Command, Stack
from rendio.local.wait import wait_until

if TYPE_CHECKING:
    from bench.world import World

USERS = 5
# From the start of the processes to the measurement: periodic work has run once by then.
SETTLE_SECONDS = 75
ORDER_TIMEOUT_SECONDS = 60
QUEUES = ("high", "medium", "low")


@dataclass(frozen=True)
class Idle:
    """CPU seconds of each process and its children in a minute, and their memory in MB after it."""

    cpu_seconds: dict[str, float]
    memory_mb: dict[str, float]

    @property
    def workers_and_beat(self) -> float:
        return sum(
            seconds
            for name, seconds in self.cpu_seconds.items()
            if name.startswith(("worker", "beat"))
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.idle", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="to measure (default 60)")
    parser.add_argument("--orders", type=int, default=50, help="to time (default 50)")
    options = parser.parse_args()
    console = Console(highlight=False)
    return stage.run(
        "idle", lambda data_dir, started: _run(data_dir, options, console, started), console
    )


def _run(
    data_dir: DataDir, options: argparse.Namespace, console: Console, started: ExitStack
) -> int:
    servers = stage.start_servers(data_dir, started)
    sandbox_port = ports.reserve_any()
    os.environ["SANDBOX_URL"] = f"http://127.0.0.1:{sandbox_port}"
    stack = Stack(data_dir=data_dir, env=os.environ, sandbox_port=sandbox_port)
    os.environ |= {"PUBLIC_URL": stack.url, "DJANGO_SETTINGS_MODULE": "rendio.settings"}
    django.setup()
    from bench.world import World  # not before the settings know these servers

    world = World(users=USERS)
    started.callback(stack.stop)
    stack.start("sandbox", "web")
    stage.wait_until_ready(stack)
    names = start_workers(stack)
    idle = measure(stack, names, servers, seconds=options.seconds)
    console.print(grid(idle).as_table())
    if options.orders:
        waits = order_to_provider(stack, world, orders=options.orders)
        console.print(
            f"\n{len(waits)} orders, each from its row to its submission: median"
            f" {statistics.median(waits) * 1000:.0f} ms, 95th percentile"
            f" {sorted(waits)[int(0.95 * (len(waits) - 1))] * 1000:.0f} ms."
        )
    return 0


def start_workers(stack: Stack) -> list[str]:
    """Start a worker for each queue, beat and Flower, as in production; return their names."""
    add_workers(stack)
    names = [*(f"worker-{queue}" for queue in QUEUES), "beat", "flower"]
    os.environ.setdefault("FLOWER_BASIC_AUTH", "bench:bench-bench-bench")
    stack.env["FLOWER_BASIC_AUTH"] = os.environ["FLOWER_BASIC_AUTH"]
    stack.start(*names)
    if not wait_until(lambda: _is_well(stack.url), timeout_seconds=120):
        raise ServerFailed("/statusz names problems.")
    return names


def add_workers(stack: Stack) -> None:
    """A command for the worker of each queue: worker-high and so on."""
    as_one = stack.commands["worker"]
    for queue in QUEUES:
        name = f"worker-{queue}"
        stack.commands[name] = Command(
            name, [*as_one.argv, queue], death_signal=as_one.death_signal
        )


def _is_well(url: str) -> bool:
    return requests.get(f"{url}/statusz", timeout=60).status_code == 200


def measure(
    stack: Stack, names: list[str], servers: tuple[PostgreSQL, Valkey], *, seconds: int
) -> Idle:
    """Wait for `seconds` without traffic. PostgreSQL and Valkey serve all processes, web too."""
    children = {name: stack.children[name] for name in [*names, "web"]}
    pids = {name: child.pid for name, child in children.items() if child.pid}
    pids |= {
        server.name: server.child.pid for server in servers if server.child and server.child.pid
    }
    time.sleep(SETTLE_SECONDS)
    before = {name: process_tree.cpu_seconds(pid) for name, pid in pids.items()}
    began = time.monotonic()
    time.sleep(seconds)
    share = 60 / (time.monotonic() - began)
    return Idle(
        cpu_seconds={
            name: (process_tree.cpu_seconds(pid) - before[name]) * share
            for name, pid in pids.items()
        },
        memory_mb={name: process_tree.memory_mb(pid) for name, pid in pids.items()},
    )


def grid(idle: Idle) -> Grid:
    rows = [
        [name, f"{seconds:.2f}", f"{idle.memory_mb[name]:.0f}"]
        for name, seconds in idle.cpu_seconds.items()
    ]
    rows.append(["workers and beat", f"{idle.workers_and_beat:.2f}", ""])
    return Grid("An idle minute", ["", "CPU s", "memory MB"], rows)


def order_to_provider(stack: Stack, world: World, *, orders: int) -> list[float]:
    """Seconds from the row of an order to the submission of its job, for orders that come one at a
    time."""
    from generation.models import Job, ProviderRequest

    waits = []
    for number in range(orders):
        job = order(stack.url, world, number)
        sent = ProviderRequest.objects.filter(job_id=job).values_list("sent_at", flat=True)
        if not wait_until(lambda: sent.exists(), timeout_seconds=ORDER_TIMEOUT_SECONDS):  # noqa: B023
            raise ServerFailed(f"No worker submits the job {job}.")
        created_at = Job.objects.values_list("created_at", flat=True).get(id=job)
        waits.append((sent[0] - created_at).total_seconds())
        time.sleep(0.3)
    connection.close()
    return waits


def order(url: str, world: World, number: int) -> str:
    owner = world.users[number % len(world.users)]
    answer = requests.post(
        f"{url}/v1/generate-video",
        json={"model_id": str(world.model.id), "prompt": f"A balloon, {number}"},
        headers={
            "Authorization": f"Bearer {world.token_of(owner)}",
            "Idempotency-Key": str(uuid4()),
        },
        timeout=60,
    )
    answer.raise_for_status()
    return str(answer.json()["job_id"])


if __name__ == "__main__":
    if not Path("/proc/self/stat").exists():
        sys.exit("bench reads CPU times from /proc: it needs Linux.")
    sys.exit(main())
