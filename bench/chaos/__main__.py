"""`make chaos`: a limited storm over 200 jobs, on servers of its own. Exits with 1 if anything is
lost."""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from statistics import median
from typing import TYPE_CHECKING

import django
from django.db import DatabaseError, connection
from rich.console import Console
from rich.table import Table

from bench import stage
from bench.chaos.customers import Crowd
from bench.chaos.storm import PROCESSES, Storm
from rendio.local import ports
from rendio.local.data_dir import DataDir
from rendio.local.stack import Stack
from rendio.local.wait import answers

if TYPE_CHECKING:
    from bench.chaos.books import Verdict

TICK_SECONDS = 0.1
BLOWS_SECONDS = (1.0, 4.0)
TROUBLES_SECONDS = (0.5, 2.0)
SETTINGS = {
    # Short, so that a hanging request ends within the run.
    "JOB_SUBMIT_DEADLINE_SECONDS": "20",
    "JOB_START_DEADLINE_SECONDS": "30",
    "JOB_RUN_DEADLINE_SECONDS": "30",
    "JOB_STORE_DEADLINE_SECONDS": "30",
    "JOB_STORE_PATIENCE_SECONDS": "10",
    "PROVIDER_READ_TIMEOUT_SECONDS": "3",
    "RATE_LIMIT_DEVICE_CHECK_PER_HOUR": "0",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="which blows fall (default: another each time)")
    parser.add_argument("--jobs", type=int, default=200, help="to be ordered (default 200)")
    parser.add_argument("--guests", type=int, default=20, help="who order them (default 20)")
    parser.add_argument("--seconds", type=float, default=60, help="of storm (default 60)")
    # Longer than the longest lease, which a worker killed at the end of the storm has just taken.
    parser.add_argument("--calm", type=float, default=600, help="for all to end (default 600)")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.randrange(10_000)  # noqa: S311
    console = Console(highlight=False)
    return stage.run(
        "chaos", lambda data_dir, started: _run(data_dir, options, console, started), console
    )


def _run(
    data_dir: DataDir, options: argparse.Namespace, console: Console, started: ExitStack
) -> int:
    database, valkey = stage.start_servers(data_dir, started)
    sandbox_port = ports.reserve_any()
    sandbox_url = f"http://127.0.0.1:{sandbox_port}"
    os.environ |= SETTINGS | {"SANDBOX_URL": sandbox_url}
    stack = Stack(data_dir=data_dir, env=os.environ, sandbox_port=sandbox_port)
    os.environ |= {"PUBLIC_URL": stack.url, "DJANGO_SETTINGS_MODULE": "rendio.settings"}
    django.setup()
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # lost connections are expected
    from bench.chaos import books  # not before the settings know these servers

    books.prepare()
    started.callback(stack.stop)
    stack.start("sandbox", *PROCESSES)
    stage.wait_until_ready(stack)
    crowd = Crowd(public_url=stack.url, guests=options.guests)
    started.callback(crowd.close)
    books.give_credits(guest.user_id for guest in crowd.guests)
    storm = Storm(
        stack=stack, database=database, valkey=valkey, sandbox_url=sandbox_url, seed=options.seed
    )

    def all_is_well() -> bool:
        """Everything runs, the API answers, and no job waits for a worker."""
        well = storm.revive() and answers(f"{stack.url}/readyz") and not books.is_anything_late()
        if well:
            storm.recovered()
        return well

    def all_has_ended() -> bool:
        return all_is_well() and crowd.is_served and books.count_open() == 0

    console.print(f"Seed {options.seed}: {options.jobs} jobs in {options.seconds:.0f} s of storm …")
    storm.leave_the_providers()
    crowd.start(jobs=options.jobs, over_seconds=options.seconds, seed=options.seed)
    _rage(storm, all_is_well, seconds=options.seconds, chance=random.Random(options.seed))  # noqa: S311
    storm.leave_the_providers()
    console.print(f"Calm: waiting for every job to end, {options.calm:.0f} s at most …")
    _wait(all_has_ended, seconds=options.calm)
    verdict = books.audit(crowd.orders(), sandbox_url=sandbox_url)
    _print(console, storm, verdict)
    return 1 if verdict.losses else 0


def _rage(
    storm: Storm, all_is_well: Callable[[], bool], *, seconds: float, chance: random.Random
) -> None:
    end = time.monotonic() + seconds
    next_blow = next_trouble = 0.0
    while (now := time.monotonic()) < end:
        if now >= next_trouble:
            storm.trouble_a_provider()
            next_trouble = now + chance.uniform(*TROUBLES_SECONDS)
        if now >= next_blow:
            storm.strike()
            next_blow = now + chance.uniform(*BLOWS_SECONDS)
        _look(all_is_well)


def _wait(done: Callable[[], bool], *, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not _look(done) and time.monotonic() < end:
        pass


def _look(condition: Callable[[], bool]) -> bool:
    """Whether the condition holds; False while the database is down."""
    time.sleep(TICK_SECONDS)
    try:
        return condition()
    except DatabaseError:
        connection.close()
        return False


def _print(console: Console, storm: Storm, verdict: Verdict) -> None:
    console.print()
    console.print(_figures(verdict))
    console.print()
    console.print(_blows(storm))
    troubles = ", ".join(f"{what} {n}" for what, n in sorted(storm.troubles.items()))
    console.print(f"\nThe providers' moods: {troubles}", style="dim")
    for loss in verdict.losses:
        console.print(loss, style="red", markup=False)
    if not verdict.losses:
        console.print("Nothing was lost, nothing done twice, and the ledger adds up.")


def _figures(verdict: Verdict) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in verdict.figures.items():
        table.add_row(name, f"{value:,}")
    return table


def _blows(storm: Storm) -> Table:
    """Each kind of outage with the seconds until everything worked again."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for title in ("times", "median s", "longest s"):
        table.add_column(title, justify="right")
    for what in sorted({blow.what for blow in storm.blows}):
        blows = [blow for blow in storm.blows if blow.what == what]
        seconds = [blow.seconds for blow in blows if blow.seconds is not None]
        shown = (f"{median(seconds):.1f}", f"{max(seconds):.1f}") if seconds else ("-", "-")
        table.add_row(what, str(len(blows)), *shown)
    return table


if __name__ == "__main__":
    sys.exit(main())
