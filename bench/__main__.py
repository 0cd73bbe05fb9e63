"""`make bench`: start fresh servers, measure calls, whole jobs, growth and an idle minute, compare
with bench/record.json, and remove everything."""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import django
from django.db import connection
from rich.console import Console

from bench import idle, limit, listeners, process_tree, record, rows, stage
from bench.calls import Calls
from bench.instant_provider import Outcome
from bench.rows import Figures, Row
from rendio.local import ports
from rendio.local.data_dir import DataDir
from rendio.local.servers import PostgreSQL, ServerFailed, Valkey
from rendio.local.stack import Command, Stack
from rendio.local.wait import answers, wait_until

if TYPE_CHECKING:
    from bench.report import Report
    from bench.tables import Grid
    from bench.world import World

CALL_ROUNDS, JOB_ROUNDS = 5, 2
LIMIT_SECONDS = 2
# Users with a full page of jobs and of history.
REGULARS = 25
SIZES, LARGE_SIZE = (10_000, 1_000_000), 10_000_000
# Jobs of a round by what they count: a submission takes a worker a moment, a video much longer.
JOB_SHARES = {Outcome.NEVER: 4, Outcome.FAILURE: 1, Outcome.VIDEO: 0.25}
SETTINGS = {
    # Too large to be reached; requests are still counted.
    "RATE_LIMIT_DEVICE_CHECK_PER_HOUR": stage.NO_LIMIT,
    "JOBS_AT_ONCE_FREE": stage.NO_LIMIT,
    "QUOTE_ORDERS": stage.NO_LIMIT,
    "QUOTE_SECONDS": "86400",
    # Jobs are reported by webhooks; submissions that never finish are not asked for.
    "POLL_FIRST_SECONDS": "600",
    "EVENT_STREAMS_PER_USER": stage.NO_LIMIT,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=6, help="for each call (default 6)")
    parser.add_argument("--connections", type=int, default=16, help="kept open (default 16)")
    parser.add_argument("--users", type=int, default=200, help="who share them (default 200)")
    parser.add_argument("--jobs", type=int, default=200, help="in a round; 0: none (default 200)")
    parser.add_argument(
        "--streams", type=int, default=2000, help="open event streams; 0: none (default 2000)"
    )
    parser.add_argument(
        "--reconnects", type=int, default=50_000, help="of event streams (default 50000)"
    )
    parser.add_argument("--idle", type=int, default=60, help="seconds; 0: not (default 60)")
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="*",
        default=SIZES,
        help="numbers of jobs to measure growth with (default 10000 1000000)",
    )
    parser.add_argument("--large", action="store_true", help=f"growth to {LARGE_SIZE:,} too")
    parser.add_argument(
        "--file", type=Path, default=record.FILE, help="the record (default bench/record.json)"
    )
    parser.add_argument(
        "--record", action="store_true", help="write the record instead of comparing with it"
    )
    parser.add_argument(
        "--write", action="store_true", help="write the tables and the plot of docs/performance.md"
    )
    options = parser.parse_args()
    if options.large:
        options.sizes = [*options.sizes, LARGE_SIZE]
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 150
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
    servers = stage.start_servers(data_dir, started)
    provider_port = ports.reserve_any()
    os.environ |= SETTINGS | {"SANDBOX_URL": f"http://127.0.0.1:{provider_port}"}
    stack = Stack(data_dir=data_dir, env=os.environ)
    os.environ |= {"PUBLIC_URL": stack.url, "DJANGO_SETTINGS_MODULE": "rendio.settings"}
    django.setup()
    logging.disable(logging.INFO)  # of this process: it orders jobs for the initial data
    from bench.report import LEGEND  # not before the settings know these servers
    from bench.world import World

    world = World(users=options.users, regulars=REGULARS)
    limit.create_tables(users=options.users)
    started.callback(stack.stop)
    _start_provider(stack, provider_port)
    stack.start("web")
    stage.wait_until_ready(stack)

    recorded = None if options.record else record.load(options.file)
    report, problems = _Run(stack, world, servers, options, recorded, console, started).measure()
    console.print(report.setting)
    console.print(LEGEND)
    ratios = record.Record.of_report(report)
    if recorded:
        problems += ratios.problems(recorded)
    for problem in problems:
        console.print(problem, style="red", markup=False)
    if problems:
        return 1
    if options.record:
        ratios.save(options.file)
    if options.write:
        report.write()
    return 0


def _start_provider(stack: Stack, port: int) -> None:
    """In the place of the sandbox. Raises ServerFailed."""
    argv = [sys.executable, "-m", "bench.instant_provider", str(port)]
    stack.commands["sandbox"] = Command("sandbox", argv)
    stack.start("sandbox")
    url = f"http://127.0.0.1:{port}/fal/jwks.json"
    if not wait_until(lambda: answers(url), timeout_seconds=60):
        raise ServerFailed("The provider's stand-in does not start.")


@dataclass
class _Run:
    """One run on started servers. Its parts follow each other: workers run only for the idle
    minute and the jobs, and growth, which empties the tables, comes last."""

    stack: Stack
    world: World
    servers: tuple[PostgreSQL, Valkey]
    options: argparse.Namespace
    recorded: record.Record | None
    console: Console
    started: ExitStack

    def measure(self) -> tuple[Report, list[str]]:
        """The report, and a line for each failed request and each discrepancy of the ledger."""
        from bench import growth
        from bench.report import Report, figures_grid, growth_grid
        from bench.world import proof

        began, machine, own = time.monotonic(), *_cpu_seconds()
        idle_minute, jobs, listening = self._measure_with_workers()
        calls = self._measure_rows(
            Calls(self.world, self.stack.url, self.stack.port, self.options.connections).rows(),
            seconds=self.options.seconds,
            rounds=CALL_ROUNDS,
        )
        self._show(figures_grid("Calls", calls))
        entries, wrong = proof()
        self.console.print(f"The ledger's {entries:,} entries are verified.")
        self.stack.stop()
        grown = growth.measure(self.options.sizes)
        if grown:
            self._show(growth_grid(grown))
        machine_now, own_now = _cpu_seconds()
        seconds = (time.monotonic() - began) * (os.cpu_count() or 1)
        report = Report(
            date=f"{datetime.now(UTC):%Y-%m-%d}",
            machine=_machine(),
            other_work=max((machine_now - machine) - (own_now - own), 0) / seconds,
            calls=calls,
            jobs=jobs,
            growth=grown,
            idle=idle_minute,
            listening=listening,
        )
        failed = [f"{row.name}: {row.first_error}" for row in [*calls, *jobs] if row.errors]
        return report, [*failed, *(f"ledger: {difference}" for difference in wrong)]

    def _measure_with_workers(
        self,
    ) -> tuple[idle.Idle | None, list[Figures], listeners.Listening | None]:
        if not (self.options.idle or self.options.jobs or self.options.streams):
            return None, [], None
        from bench.jobs import Jobs
        from bench.report import figures_grid

        workers = idle.start_workers(self.stack)
        self.started.callback(self.stack.stop, *workers)
        idle_minute = None
        if self.options.idle:
            idle_minute = idle.measure(self.stack, workers, self.servers, seconds=self.options.idle)
            self._show(idle.grid(idle_minute))
        jobs = Jobs(
            self.stack,
            self.world,
            provider_url=os.environ["SANDBOX_URL"],
            workers=workers,
            counts={
                outcome: max(round(self.options.jobs * share), 1)
                for outcome, share in JOB_SHARES.items()
            },
        )
        figures = []
        if self.options.jobs:
            figures = self._measure_rows(
                jobs.rows(), seconds=LIMIT_SECONDS * JOB_ROUNDS, rounds=JOB_ROUNDS, workers=workers
            )
            self._show(figures_grid("Whole jobs", figures))
        listening = None
        if self.options.streams:
            listening = self._measure_listeners()
            self._show(listeners.grid(listening))
        self.stack.stop(*workers)
        return idle_minute, figures, listening

    def _measure_listeners(self) -> listeners.Listening:
        from bench.world import finish_open_jobs

        listeners.start_events(self.stack)
        self.started.callback(self.stack.stop, "events")
        listening = listeners.measure(
            self.stack,
            self.world,
            provider_url=os.environ["SANDBOX_URL"],
            streams=self.options.streams,
            webhooks=listeners.WEBHOOKS,
            reconnects=self.options.reconnects,
        )
        self.stack.stop("events")
        finish_open_jobs()
        return listening

    def _measure_rows(
        self, measured: Sequence[Row], *, seconds: float, rounds: int, workers: Sequence[str] = ()
    ) -> list[Figures]:
        """Rows that seem to have fallen are measured once more: other work on the machine may
        have disturbed them."""
        pids = self._pids(workers)

        def measure(chosen: Sequence[Row]) -> list[Figures]:
            return rows.measure(chosen, self._limit(), pids=pids, seconds=seconds, rounds=rounds)

        found = measure(measured)
        fallen = record.fallen(found, self.recorded) if self.recorded else set()
        if not fallen:
            return found
        self.console.print(f"Measured again: {', '.join(sorted(fallen))}.")
        again = measure([replace(row, rounds=[]) for row in measured if row.name in fallen])
        by_name = {row.name: row for row in again if row.name in fallen}
        return [by_name.get(row.name, row) for row in found]

    def _show(self, grid: Grid) -> None:
        self.console.print(grid.as_table())
        self.console.print()

    def _limit(self) -> Row:
        return Row(
            "limit",
            lambda seconds: limit.drive(
                database_url=self.servers[0].url,
                users=self.options.users,
                clients=self.options.connections,
                seconds=max(round(seconds), 1),
                folder=self.stack.data_dir.root,
            ),
        )

    def _pids(self, workers: Sequence[str]) -> dict[str, list[int]]:
        """The processes whose CPU time counts, by part (bench.rows.PARTS)."""
        names = {"app": ["web"], "workers": list(workers)}
        children = {part: [self.stack.children[one] for one in names[part]] for part in names}
        children |= {
            part: [server.child]
            for part, server in zip(("pg", "redis"), self.servers, strict=True)
            if server.child
        }
        return {part: [one.pid for one in of if one.pid] for part, of in children.items()}


def _cpu_seconds() -> tuple[float, float]:
    """CPU seconds of the machine, and of this run with its servers."""
    return process_tree.machine_cpu_seconds(), process_tree.cpu_seconds(os.getpid())


def _machine() -> str:
    server = ".".join(map(str, connection.get_database_version()))
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, PostgreSQL {server}"


if __name__ == "__main__":
    sys.exit(main())
