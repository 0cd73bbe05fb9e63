"""A service on a PostgreSQL and a Valkey of its own, which a test may stop and kill."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rendio.local import pytest_plugin
from rendio.local.data_dir import DataDir
from rendio.local.servers import PostgreSQL, Valkey
from rendio.local.stack import Stack
from rendio.local.wait import wait_until
from tests.helpers.job_driver import serves, stack_environment
from tests.helpers.wait import PATIENCE_SECONDS, wait_for


@dataclass(frozen=True)
class Service:
    stack: Stack
    database: PostgreSQL
    valkey: Valkey

    @property
    def url(self) -> str:
        return self.stack.url


@contextmanager
def serving(
    folder: Path, *processes: str, durable: bool = False, **changes: Any
) -> Iterator[Service]:
    """These processes of the stack, with these settings. `durable`: PostgreSQL may be killed."""
    with ExitStack() as started:
        data_dir = DataDir(folder)
        data_dir.acquire()
        started.callback(data_dir.release)
        is_migrated = pytest_plugin.copy_template(data_dir)
        password = data_dir.secrets()["POSTGRES_PASSWORD"]
        database = PostgreSQL(data_dir, password=password, durable=durable)
        started.callback(database.stop)
        database.start()
        name = pytest_plugin.MIGRATED if is_migrated else database.url.rpartition("/")[2]
        valkey = Valkey(data_dir, durable=False)
        started.callback(valkey.stop)
        valkey.start()
        environment = stack_environment(name, **changes) | {
            "DATABASE_URL": f"{database.url.rpartition('/')[0]}/{name}",
            "REDIS_URL": valkey.url,
            "MEDIA_ROOT": str(data_dir.media),
        }
        environment.pop("PUBLIC_URL")
        stack = started.enter_context(Stack(data_dir=data_dir, env=environment))
        if not is_migrated:
            migrate = stack.manage("migrate", "--no-input")
            migrate.start()
            assert wait_until(lambda: not migrate.running, timeout_seconds=PATIENCE_SECONDS)
        stack.start(*processes)
        wait_for(lambda: serves(stack.url))
        yield Service(stack, database, valkey)
