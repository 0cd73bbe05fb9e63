"""What a provider needs to make something from a customer's images: our media over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.job_driver import grant
from tests.helpers.media_over_http import media_over_http
from tests.helpers.phone import Phone


@pytest.fixture
def customer(phone: Phone) -> Phone:
    """A guest with 100 credits more than the welcome grant."""
    assert phone.user_id
    grant(phone.user_id, 100)
    return phone


@pytest.fixture(autouse=True)
def _media_over_http(settings: Any) -> Iterator[None]:
    with media_over_http(settings):
        yield
