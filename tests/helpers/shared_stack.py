"""Web, worker and beat as processes, started once for all tests that want the same settings.

A start takes 8 s of processor time. tests/conftest.py puts the tests that use the `running` fixture
first, sorted by their settings, and stops the processes after the last of each kind.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from rendio.local import ports
from rendio.local.data_dir import DataDir
from rendio.local.stack import Stack
from tests.helpers.job_driver import Running, serves, stack_environment
from tests.helpers.wait import PATIENCE_SECONDS, wait_for

# What most tests need of the processes. A module changes it by STACK_ENVIRONMENT.
STANDARD = {
    "PROVIDER_READ_TIMEOUT_SECONDS": 5,
    "MAX_VIDEO_BYTES": 3_000_000,
    # All orders are open at once, and no fee is to be told from a refund.
    "CANCEL_FREE_COUNT": 100,
    "DUE_LATE_SECONDS": 3600,
    # One guest's orders are all sent, and go on being sent after many failures.
    "JOBS_AT_ONCE_FREE": 1000,
    "BREAKER_FAILURES": 1000,
    "RATE_LIMIT_UPLOADS_PER_HOUR": 0,
    "RATE_LIMIT_REDEEM_PER_MINUTE": 1,
    "WORKER_METRICS_PORT": ports.reserve_any(),
}


# Where the events process listens, if a test starts it (tests/events/conftest.py).
EVENTS_PORT = ports.reserve_any()


@dataclass(frozen=True)
class Started:
    changes: Mapping[str, Any]
    running: Running


_started: Started | None = None


def use(database: str, changes: Mapping[str, Any]) -> Running:
    """The processes with these changes to the standard settings."""
    global _started
    if _started is None or _started.changes != changes:
        stop()
        environment = stack_environment(database, **{**STANDARD, **changes})
        port = int(os.environ["PUBLIC_URL"].rsplit(":", 1)[1])
        stack = Stack(
            data_dir=DataDir.from_environment(),
            env=environment,
            port=port,
            events_port=EVENTS_PORT,
        )
        stack.commands = {
            name: replace(command, stop_seconds=PATIENCE_SECONDS)
            for name, command in stack.commands.items()
        }
        _started = Started(changes, Running(stack))
        stack.start("web", "worker", "beat")
    running = _started.running
    wait_for(lambda: serves(running.url), describe=lambda: running.log("web"))
    return running


def stop() -> None:
    global _started
    if _started is not None:
        _started.running.stack.stop()
        _started = None


def sort(items: list[pytest.Item]) -> list[pytest.Item]:
    """Those that use the processes first, in the order of their settings, then all others."""
    return sorted(items, key=lambda item: (not _uses(item), str(sorted(changes_for(item).items()))))


def stop_if_unused(next_item: pytest.Item | None, *, has_failed: bool) -> None:
    """After each test. A failed one may have left the processes in any state."""
    if _started is None:
        return
    is_used = next_item is not None and _uses(next_item)
    if has_failed or not is_used or changes_for(next_item) != _started.changes:
        stop()


def changes_for(item: pytest.Item) -> Mapping[str, Any]:
    if not _uses(item):
        return {}
    changes: Mapping[str, Any] = getattr(item.getparent(pytest.Module).obj, "STACK_ENVIRONMENT", {})
    return changes


def _uses(item: pytest.Item) -> bool:
    return "running" in getattr(item, "fixturenames", ())
