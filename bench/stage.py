"""The environment of every benchmark: a temporary folder, durable servers, a running stack."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from rich.console import Console

from rendio.local.data_dir import DataDir, DataDirInUse
from rendio.local.servers import PostgreSQL, ServerFailed, Valkey, last_lines
from rendio.local.stack import Stack
from rendio.local.wait import answers, wait_until

# Too large to be reached; requests are still counted.
NO_LIMIT = "1000000000"


@contextmanager
def own(data_dir: DataDir) -> Iterator[None]:
    """An empty data folder, removed at the end. Processes of an earlier run have ended with it.
    Raises DataDirInUse."""
    data_dir.acquire()
    try:
        shutil.rmtree(data_dir.root / PostgreSQL.name, ignore_errors=True)
        shutil.rmtree(data_dir.root / Valkey.name, ignore_errors=True)
        yield
    finally:
        shutil.rmtree(data_dir.root, ignore_errors=True)
        data_dir.release()


def run(
    name: str,
    drive: Callable[[DataDir, ExitStack], int],
    console: Console,
    *,
    failures: tuple[type[Exception], ...] = (ServerFailed,),
) -> int:
    """Call `drive` with an empty data folder of this name, and stop the processes that it started.

    Returns the exit code of `drive`. If another run owns the folder, or `drive` raises
    one of `failures`, prints it and returns 1.
    """
    data_dir = DataDir(DataDir.from_environment().root / name)
    try:
        with own(data_dir), ExitStack() as started:
            return drive(data_dir, started)
    except DataDirInUse as owner:
        console.print(f"Another run is under way ({owner}); they would disturb each other.")
    except failures as failure:
        console.print(f"{failure}", style="red", markup=False)
    return 1


def start_servers(data_dir: DataDir, started: ExitStack) -> tuple[PostgreSQL, Valkey]:
    """Servers that are durable as in production; their addresses are in the environment from here
    on. Raises ServerFailed."""
    secrets = data_dir.secrets()
    database = PostgreSQL(data_dir, password=secrets["POSTGRES_PASSWORD"])
    started.callback(database.stop)
    database.start()
    valkey = Valkey(data_dir)
    started.callback(valkey.stop)
    valkey.start()
    os.environ |= {
        **secrets,
        "ENVIRONMENT": "development",
        "RENDIO_HOME": str(data_dir.root),
        "MEDIA_ROOT": str(data_dir.media),
        "DATABASE_URL": database.url,
        "REDIS_URL": valkey.url,
        "RATE_LIMIT_GENERATION_PER_HOUR": NO_LIMIT,
        "RATE_LIMIT_GENERATION_PER_MINUTE": NO_LIMIT,
        "RATE_LIMIT_GENERATION_PER_DAY": NO_LIMIT,
        "RATE_LIMIT_QUOTES_PER_MINUTE": NO_LIMIT,
        "RATE_LIMIT_DEFAULT_PER_MINUTE": NO_LIMIT,
        "PERSON_DAILY_USD": NO_LIMIT,
    }
    return database, valkey


def wait_until_ready(stack: Stack) -> None:
    """Raises ServerFailed with the end of the web process's log."""
    web = stack.children["web"]
    url = f"{stack.url}/readyz"
    wait_until(lambda: not web.running or answers(url), timeout_seconds=60)
    if not web.running or not answers(url):
        raise ServerFailed(f"The web process does not start:\n{last_lines(stack.log('web'))}")
