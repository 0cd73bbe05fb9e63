"""The events process beside web, worker and beat."""

from __future__ import annotations

import pytest

from tests.generation.conftest import running
from tests.helpers.job_driver import Running, serves
from tests.helpers.sandbox_control import Sandbox
from tests.helpers.wait import wait_for

__all__ = ["running"]  # a fixture


@pytest.fixture
def events_url(running: Running) -> str:
    """The events process, started by the first test that asks for it."""
    stack = running.stack
    child = stack.children.get("events")
    if child is None or not child.running:
        stack.start("events")
    wait_for(lambda: serves(stack.events_url), describe=lambda: running.log("events"))
    return stack.events_url


@pytest.fixture
def provider(sandbox: Sandbox) -> Sandbox:
    sandbox.provider(queue_seconds=0.3, run_seconds=1.5)
    return sandbox


@pytest.fixture
def endless(sandbox: Sandbox) -> Sandbox:
    """Jobs that run until they are cancelled."""
    sandbox.provider(queue_seconds=0.3, run_seconds=600, cancel_running=True)
    return sandbox
