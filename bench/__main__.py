"""`make bench`: start fresh servers, drive them, print one table, and remove everything."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import django
from django.db import connection
from rich.console import Console
from rich.table import Table

from bench import cpu, idle, limit, stage
from bench.load import Plan, Result
from rendio.local.data_dir import PROJECT, DataDir
from rendio.local.servers import ServerFailed
from rendio.local.stack import Stack

ROUNDS = 2
WARM_UP_SECONDS = 1.0
LEGEND = (
    "pgbench is the limit: the bare money transaction of generate-video and nothing else.\n"
    "app, pg, redis: seconds of CPU that 1,000 requests cost in the web processes, in PostgreSQL"
    " and in Valkey. Their sum is the figure to compare: cores / sum * 1,000 is the most that a"
    " machine can serve; req/s and the latencies (ms, under full load) also show what else the"
    " machine was doing."
)


@dataclass
class Row:
    """One line of the table; each round adds to it."""

    name: str
    drive: Callable[[float], Result]
    results: list[Result] = field(default_factory=list)
    cpu_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        return sum(result.requests for result in self.results)

    @property
    def errors(self) -> int:
        return sum(result.errors for result in self.results)

    @property
    def per_second(self) -> float:
        return self.requests / sum(result.seconds for result in self.results)

    def cpu_per_1000(self, *names: str) -> float:
        used = sum(self.cpu_seconds[name] for name in names or self.cpu_seconds)
        return used / max(self.requests, 1) * 1000

    def latency_ms(self, share: float) -> float:
        latencies = sorted(one for result in self.results for one in result.latencies_ms)
        return latencies[int(share * (len(latencies) - 1))] if latencies else 0.0

    def measure(self, seconds: float, roots: dict[str, int]) -> None:
        before = {name: cpu.seconds(pid) for name, pid in roots.items()}
        self.results.append(self.drive(seconds))
        for name, pid in roots.items():
            used = cpu.seconds(pid) - before[name]
            self.cpu_seconds[name] = self.cpu_seconds.get(name, 0.0) + used


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=int, default=8, help="for each row (default 8)")
    parser.add_argument("--connections", type=int, default=16, help="kept open (default 16)")
    parser.add_argument("--users", type=int, default=200, help="who share them (default 200)")
    parser.add_argument(
        "--idle", type=int, default=60, help="seconds without traffic to measure first (default 60)"
    )
    options = parser.parse_args()
    console = Console(highlight=False)
    if not Path("/proc/self/stat").exists():
        console.print("bench reads CPU times from /proc: it needs Linux.", style="red")
        return 1
    return stage.run(
        "bench",
        lambda data_dir, started: _run(data_dir, options, console, started),
        console,
        failures=(ServerFailed, limit.LimitFailed),
    )


def _run(
    data_dir: DataDir, options: argparse.Namespace, console: Console, started: ExitStack
) -> int:
    database, valkey = stage.start_servers(data_dir, started)
    stack = Stack(data_dir=data_dir, env=os.environ)
    os.environ |= {"PUBLIC_URL": stack.url, "DJANGO_SETTINGS_MODULE": "rendio.settings"}
    django.setup()
    from bench.world import World, proof  # not before the settings know these servers

    world = World(users=options.users)
    started.callback(stack.stop)
    stack.start("web")
    stage.wait_until_ready(stack)

    if options.idle:
        workers = idle.start_workers(stack)
        servers = (database, valkey)
        console.print(idle.table(idle.measure(stack, workers, servers, seconds=options.idle)))
        console.print()
        stack.stop(*workers)

    def phones(sent: list[str]) -> Callable[[float], Result]:
        return lambda seconds: _drive(Plan(stack.port, options.connections, seconds, sent))

    rows = [
        Row("generate-video", phones(world.generate_video())),
        Row("get-video-status", phones(world.get_video_status())),
        Row("get-models", phones(world.get_models())),
        Row(
            "pgbench",
            lambda seconds: limit.drive(
                database_url=database.url,
                users=options.users,
                clients=options.connections,
                seconds=max(round(seconds), 1),
                folder=data_dir.root,
            ),
        ),
    ]
    children = {"app": stack.children["web"], "pg": database.child, "redis": valkey.child}
    roots = {name: child.pid for name, child in children.items() if child and child.pid}
    for row in rows:
        row.drive(WARM_UP_SECONDS)
    for _ in range(ROUNDS):
        for row in rows:
            row.measure(options.seconds / ROUNDS, roots)
    _print(console, rows)
    return _judge(console, rows, *proof())


def _drive(plan: Plan) -> Result:
    ran = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(asdict(plan)),
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Result.from_json(ran.stdout)


def _print(console: Console, rows: list[Row]) -> None:
    server = ".".join(map(str, connection.get_database_version()))
    console.print(
        f"{os.cpu_count()} cores, Python {platform.python_version()},"
        f" PostgreSQL {server} with fsync on\n"
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for title in ("requests", "errors", "req/s", "app", "pg", "redis", "sum", "p50", "p99"):
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(
            row.name,
            f"{row.requests:,}",
            f"{row.errors}",
            f"{row.per_second:,.0f}",
            *(f"{row.cpu_per_1000(name):.2f}" for name in ("app", "pg", "redis")),
            f"{row.cpu_per_1000():.2f}",
            f"{row.latency_ms(0.5):.1f}",
            f"{row.latency_ms(0.99):.1f}",
        )
    console.print(table)
    generate, bare = rows[0], rows[-1]
    console.print(f"\n{LEGEND}")
    console.print(
        f"\ngenerate-video beside the bare transaction:"
        f" {generate.per_second / bare.per_second:.2f} of its req/s,"
        f" {generate.cpu_per_1000() / bare.cpu_per_1000():.1f} times its CPU."
    )


def _judge(console: Console, rows: list[Row], entries: int, wrong: list[str]) -> int:
    """The exit code: 1 if a request failed, since the figures are then worthless."""
    problems = [f"ledger: {difference}" for difference in wrong]
    for row in rows:
        if row.errors:
            first = next(result.first_error for result in row.results if result.errors)
            problems.append(f"{row.name}: {first}")
    for problem in problems:
        console.print(problem, style="red", markup=False)
    if not problems:
        console.print(f"Afterwards the ledger's {entries:,} entries add up.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
