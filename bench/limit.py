"""The limit: pgbench runs the bare money transaction on the same server."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from bench.load import Result
from rendio.local.servers import postgres_binary

SCRIPT = Path(__file__).with_name("transaction.sql")


class LimitFailed(Exception):
    """pgbench did not run; the message is its output."""


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
