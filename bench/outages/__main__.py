"""`make outages`: 50 calls a second while PostgreSQL and Valkey restart and hang. Exits with 1 if a
limit is broken."""

from __future__ import annotations

import argparse
import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import django
import requests
from django.db import connection
from rich.console import Console

from bench import stage
from bench.outages import report
from bench.outages.load import FRESH_ID, Call, Plan, Sent
from rendio.local import ports
from rendio.local.data_dir import PROJECT, DataDir
from rendio.local.servers import PostgreSQL, ServerFailed, Valkey
from rendio.local.stack import Stack
from rendio.local.wait import wait_until

if TYPE_CHECKING:
    from bench.world import World

USERS = 50
PHONES = 10
WARM_UP_SECONDS = 5
WELL_SECONDS = 10
RESTART_SECONDS = 10
SETTLED_SECONDS = 300.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.outages", description=__doc__)
    parser.add_argument("--hang", type=int, default=30, help="seconds of each hang (default 30)")
    parser.add_argument("--only", choices=["postgres", "valkey"], help="the one that has outages")
    parser.add_argument("--json", help="a file for every call that was sent, a line each")
    options = parser.parse_args()
    console = Console(highlight=False, width=110)
    return stage.run(
        "outages", lambda data_dir, started: _run(data_dir, options, console, started), console
    )


def _run(
    data_dir: DataDir, options: argparse.Namespace, console: Console, started: ExitStack
) -> int:
    database, valkey = stage.start_servers(data_dir, started)
    sandbox_port = ports.reserve_any()
    os.environ |= {
        "SANDBOX_URL": f"http://127.0.0.1:{sandbox_port}",
        "RATE_LIMIT_DEVICE_CHECK_PER_HOUR": "0",
    }
    stack = Stack(data_dir=data_dir, env=os.environ, sandbox_port=sandbox_port)
    os.environ |= {"PUBLIC_URL": stack.url, "DJANGO_SETTINGS_MODULE": "rendio.settings"}
    django.setup()
    from bench.world import World, proof  # not before the settings know these servers
    from generation.models import Job, JobStatus

    world = World(users=USERS)
    started.callback(stack.stop)
    stack.start("sandbox", "web", "worker", "beat")
    stage.wait_until_ready(stack)
    # The worker takes longer than web, and is missed until it is there.
    if not wait_until(lambda: _is_well(stack.url), timeout_seconds=SETTLED_SECONDS):
        raise ServerFailed("/statusz names problems before any outage.")
    calls = _calls(world, _known_phones(stack.url))
    servers = [one for one in (database, valkey) if options.only in (None, one.name)]
    seconds = WELL_SECONDS + len(servers) * (2 * WELL_SECONDS + RESTART_SECONDS + options.hang)
    with _load(Plan(stack.port, WARM_UP_SECONDS, calls, starts_at=time.time())):
        pass  # one-time work of a process is done
    plan = Plan(stack.port, seconds, calls, starts_at=time.time() + 3)
    console.print(f"{sum(call.per_second for call in calls)} calls a second for {seconds} s …")
    with _load(plan) as sent:
        outages = _break_servers(plan.starts_at, servers, hang_seconds=options.hang)
    connection.close()  # made before the restart
    unfinished = [JobStatus.PENDING, JobStatus.PROCESSING]
    wait_until(
        lambda: not Job.objects.filter(status__in=unfinished).exists(),
        timeout_seconds=SETTLED_SECONDS,
    )
    if options.json:
        lines = [json.dumps(asdict(one)) + "\n" for one in sent]
        Path(options.json).write_text("".join(lines))
    parts = report.phases(outages, ends=seconds)
    console.print(report.by_second(sent, parts))
    console.print()
    console.print(report.by_phase(sent, parts))
    console.print()
    entries, wrong = proof()
    left = Job.objects.filter(status__in=unfinished).count()
    found = [*report.problems(sent, parts), *wrong, *([f"{left} jobs have not ended"] * bool(left))]
    for problem in found:
        console.print(problem, style="red", markup=False)
    if not found:
        console.print(
            f"Every limit was kept, all {Job.objects.count():,} jobs have ended, and the ledger's"
            f" {entries:,} entries add up."
        )
    return 1 if found else 0


def _is_well(url: str) -> bool:
    return requests.get(f"{url}/statusz", timeout=60).status_code == 200


def _break_servers(
    starts_at: float, servers: list[PostgreSQL | Valkey], *, hang_seconds: int
) -> list[tuple[str, float, float]]:
    """Each outage in turn: (name, begin, when the server was back)."""
    outages = []

    def take_turn(what: str, at: float, outage: Callable[[], None]) -> None:
        time.sleep(max(0.0, starts_at + at - time.time()))
        began = time.time() - starts_at
        outage()
        outages.append((what, began, time.time() - starts_at))

    at = float(WELL_SECONDS)
    for server in servers:
        take_turn(f"{server.name} restarts", at, partial(_restart, server))
        at += RESTART_SECONDS + WELL_SECONDS
        take_turn(f"{server.name} hangs", at, partial(_hang, server, hang_seconds))
        at += hang_seconds + WELL_SECONDS
    return outages


def _restart(server: PostgreSQL | Valkey) -> None:
    server.stop()
    server.launch()
    if not wait_until(server.answers, timeout_seconds=30):
        raise ServerFailed(f"{server.name} does not come back.")


def _hang(server: PostgreSQL | Valkey, seconds: int) -> None:
    if server.child is None:
        return
    server.child.pause()
    try:
        time.sleep(seconds)
    finally:
        server.child.resume()


@contextmanager
def _load(plan: Plan) -> Iterator[list[Sent]]:
    """Send the plan's calls in a separate process; the list is filled when the block ends."""
    sent: list[Sent] = []
    with subprocess.Popen(
        [sys.executable, "-m", "bench.outages.load"],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as load:
        try:
            if load.stdin:
                json.dump(asdict(plan), load.stdin)
                load.stdin.close()
            yield sent
            if load.stdout:
                sent += [Sent(**json.loads(line)) for line in load.stdout]
        finally:
            load.kill()


def _known_phones(url: str) -> list[dict[str, str]]:
    """Device-check bodies of phones that have signed in before, as most have."""
    bodies = []
    for _ in range(PHONES):
        token = base64.b64encode(f"sandbox-{uuid4()}".encode()).decode()
        body = {
            "device_id": str(uuid4()),
            "device_token": token,
            "installation_secret": uuid4().hex,
        }
        requests.post(f"{url}/v1/device-check", json=body, timeout=60).raise_for_status()
        bodies.append(body)
    return bodies


def _calls(world: World, phones: list[dict[str, str]]) -> list[Call]:
    """50 calls a second, as phones and load balancers send them."""

    def of(owner: UUID, first_line: str, body: str = "") -> tuple[str, list[str], str]:
        headers = ["Host: 127.0.0.1", f"Authorization: Bearer {world.token_of(owner)}"]
        if body:
            headers += ["Content-Type: application/json", f"Idempotency-Key: {FRESH_ID}"]
        return f"{first_line} HTTP/1.1", headers, body

    order = json.dumps({"model_id": str(world.model.id), "prompt": "A red balloon over the sea"})
    page = ["Host: 127.0.0.1"]
    return [
        Call(
            "generate-video", 1, [of(one, "POST /v1/generate-video", order) for one in world.users]
        ),
        Call(
            "get-video-status",
            27,
            [
                of(job.user_id, f"GET /v1/get-video-status?job_id={job.id}")
                for job in world.finished
            ],
        ),
        Call("get-user-credits", 16, [of(one, "GET /v1/get-user-credits") for one in world.users]),
        Call(
            "device-check",
            2,
            [
                (
                    "POST /v1/device-check HTTP/1.1",
                    [*page, "Content-Type: application/json"],
                    json.dumps(phone),
                )
                for phone in phones
            ],
        ),
        Call("healthz", 2, [("GET /healthz HTTP/1.1", page, "")]),
        Call("readyz", 1, [("GET /readyz HTTP/1.1", page, "")]),
        Call("statusz", 1, [("GET /statusz HTTP/1.1", page, "")]),
    ]


if __name__ == "__main__":
    sys.exit(main())
