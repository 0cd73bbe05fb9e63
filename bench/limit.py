"""The limit: pgbench runs the bare money transaction on the same server."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from django.db import connection

from bench.load import Result
from rendio.local.servers import postgres_binary

TABLES = Path(__file__).with_name("limit.sql")
SCRIPT = Path(__file__).with_name("transaction.sql")
CREDITS = 1_000_000_000


class LimitFailed(Exception):
    """pgbench did not run; the message is its output."""


def create_tables(*, users: int) -> None:
    """The tables of the limit, with a wallet for each user. Joins the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(TABLES.read_text())
        cursor.execute(
            "INSERT INTO bench.wallet (user_id, balance)"
            " SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, %s"
            " FROM generate_series(1, %s) n",
            [CREDITS, users],
        )


def drive(*, database_url: str, users: int, clients: int, seconds: int, folder: Path) -> Result:
    """As many transactions as PostgreSQL can do. The client's CPU time is not counted, like a
    phone's."""
    address = urlsplit(database_url)
    prefix = folder / "pgbench"
    ran = subprocess.run(  # noqa: S603
        [
            postgres_binary("pgbench"),
            *["--no-vacuum", "--protocol=prepared", f"--file={SCRIPT}", f"--define=users={users}"],
            *[f"--client={clients}", f"--time={seconds}", "--log", f"--log-prefix={prefix}"],
            *[f"--host={address.hostname}", f"--port={address.port}"],
            *[f"--username={address.username}", address.path.removeprefix("/")],
        ],
        env={"PGPASSWORD": address.password or "", "PATH": os.defpath, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise LimitFailed(ran.stderr)
    latencies_ms = []
    for log in folder.glob("pgbench.*"):
        # client, number, microseconds, …
        latencies_ms += [int(line.split()[2]) / 1000 for line in log.read_text().splitlines()]
        log.unlink()
    failed = re.search(r"failed transactions: (\d+)", ran.stdout)
    return Result(
        requests=len(latencies_ms),
        errors=int(failed[1]) if failed else 0,
        seconds=seconds,
        latencies_ms=latencies_ms,
        first_error=ran.stderr,
    )
