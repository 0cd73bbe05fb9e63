"""Fixtures for the lifecycle of jobs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from generation.lifecycle import route_timing
from generation.providers import fal_webhooks
from rendio.local.data_dir import DataDir
from rendio.local.stack import Stack
from tests.conftest import Phone, Sandbox
from tests.helpers.job_driver import Canned, Life, Running, Signer, grant, serves, stack_environment
from tests.helpers.wait import PATIENCE_SECONDS, eventually


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the cache of route timings: rows of other tests are gone."""
    monkeypatch.setattr(route_timing, "CACHE_SECONDS", -1)


@pytest.fixture
def life() -> Life:
    return Life()


@pytest.fixture
def quick(sandbox: Sandbox) -> Sandbox:
    """A provider that finishes every job at once and sends no webhooks."""
    sandbox.provider(queue_seconds=0, run_seconds=0, webhooks=False)
    return sandbox


@pytest.fixture
def no_long_wait(request: pytest.FixtureRequest, settings: Any) -> None:
    """Shorten the read timeout if the provider never answers a submission."""
    call = getattr(request.node, "callspec", None)
    if call and "submit_timeout" in call.params.values():
        settings.PROVIDER_READ_TIMEOUT_SECONDS = 1


@pytest.fixture
def guest(committed: None, sandbox: Sandbox) -> Phone:
    """A committed guest with 100 credits more than the welcome grant."""
    phone = Phone().sign_in()
    assert phone.user_id
    grant(phone.user_id, 100)
    return phone


@pytest.fixture
def canned() -> Iterator[Canned]:
    server = Canned()
    yield server
    server.close()


@pytest.fixture
def signer(canned: Canned, settings: Any) -> Signer:
    """Signs fal's webhooks with a key of the test. The process has not fetched the key yet."""
    settings.FAL_JWKS_URL = f"{canned.url}/jwks.json"
    fal_webhooks.keys.clear()
    return Signer(canned)


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest, committed_database: str) -> Iterator[Running]:
    """The application as it runs in production, for the tests of one module.

    Its workers claim all committed due jobs, so a test must not call the due functions on a
    committed job. `STACK_ENVIRONMENT` of the module changes settings.
    """
    changes = getattr(request.module, "STACK_ENVIRONMENT", {})
    environment = stack_environment(committed_database, **changes)
    port = int(os.environ["PUBLIC_URL"].rsplit(":", 1)[1])
    stack = Stack(data_dir=DataDir.from_environment(), env=environment, port=port)
    stack.commands = {
        name: replace(command, stop_seconds=PATIENCE_SECONDS)
        for name, command in stack.commands.items()
    }
    try:
        stack.start("web", "worker", "beat")
        running = Running(stack)
        eventually(lambda: serves(running.url), told=lambda: running.log("web"))
        yield running
    finally:
        stack.stop()
