"""Trainers on sale, and a customer who can pay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.generation.training.orders import TRAINERS_AT, want_captions
from tests.helpers.job_driver import grant
from tests.helpers.media_over_http import media_over_http
from tests.helpers.phone import Phone
from tests.helpers.sandbox_control import Sandbox


@pytest.fixture
def customer(phone: Phone) -> Phone:
    """A guest with 100 credits more than the welcome grant."""
    want_captions("replicate")
    assert phone.user_id
    grant(phone.user_id, 100)
    return phone


@pytest.fixture
def instant_trainers(sandbox: Sandbox) -> Sandbox:
    """Trainers that finish at once and send no webhooks."""
    for provider in TRAINERS_AT:
        sandbox.provider(provider=provider, queue_seconds=0, run_seconds=0, webhooks=False)
    return sandbox


@pytest.fixture(autouse=True)
def _media_over_http(settings: Any) -> Iterator[None]:
    with media_over_http(settings):
        yield
