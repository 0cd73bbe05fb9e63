"""Fixtures for the lifecycle of jobs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from generation.lifecycle import route_timing
from generation.models import Job, Stage
from generation.providers import fal_webhooks
from tests.helpers import shared_stack
from tests.helpers.job_driver import JobDriver, Running, StubServer, WebhookSigner, grant
from tests.helpers.phone import Phone
from tests.helpers.sandbox_control import Sandbox


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the cache of route timings: rows of other tests are gone."""
    monkeypatch.setattr(route_timing, "CACHE_SECONDS", -1)


@pytest.fixture
def life() -> JobDriver:
    return JobDriver()


@pytest.fixture
def instant_provider(sandbox: Sandbox) -> Sandbox:
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
def short_deadlines(settings: Any) -> None:
    """Two minutes for what takes ten or thirty: each try until then costs a request."""
    settings.JOB_START_DEADLINE_SECONDS = settings.JOB_RUN_DEADLINE_SECONDS = 120
    settings.JOB_STORE_DEADLINE_SECONDS = 120


@pytest.fixture
def guest(committed: None, sandbox: Sandbox) -> Iterator[Phone]:
    """A committed guest with 100 credits more than the welcome grant. All its jobs have to end:
    other tests would send them."""
    phone = Phone().sign_in_without_apple()
    sandbox.mark_device(phone.device_token)
    assert phone.user_id
    grant(phone.user_id, 100)
    yield phone
    unfinished = Job.objects.filter(user_id=phone.user_id).exclude(stage=Stage.DONE)
    assert not unfinished.exists(), list(unfinished)


@pytest.fixture
def stub_server() -> Iterator[StubServer]:
    server = StubServer()
    yield server
    server.close()


@pytest.fixture
def signer(stub_server: StubServer, settings: Any) -> WebhookSigner:
    """Signs fal's webhooks with a key of the test. The process has not fetched the key yet."""
    settings.FAL_JWKS_URL = f"{stub_server.url}/jwks.json"
    fal_webhooks.keys.clear()
    return WebhookSigner(stub_server)


@pytest.fixture
def running(request: pytest.FixtureRequest, committed_database: str) -> Running:
    """Web, worker and beat as processes of their own, as in production.

    The workers claim all committed due jobs, so a test must not call the due functions on a
    committed job. `STACK_ENVIRONMENT` of the module changes settings.
    """
    return shared_stack.use(committed_database, shared_stack.changes_for(request.node))
