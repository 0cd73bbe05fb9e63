"""What the tests of moderation start from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from generation.models import BlockedTerm
from generation.moderation.blocklist import blocklist
from tests.generation.uploads.conftest import Storage, storage
from tests.helpers.sandbox_control import Sandbox

__all__ = ["Storage", "storage"]


@pytest.fixture
def blocked(db: None, settings: Any) -> Callable[..., None]:
    """Switches the blocklist on, with these terms."""
    settings.MODERATION = ["blocklist"]

    def add(*texts: str, **fields: Any) -> None:
        for text in texts:
            BlockedTerm.objects.create(text=text, **fields)
        blocklist.invalidate_cache()

    return add


@pytest.fixture
def openai(sandbox: Sandbox, settings: Any) -> Callable[..., None]:
    """Switches OpenAI on; a call says how it answers."""
    settings.MODERATION = ["openai"]
    # However slow this machine is: what is to be out of reach is so at once.
    settings.MODERATION_TIMEOUT_SECONDS = 180

    def plan(**fields: Any) -> None:
        sandbox.control("moderation", **fields)

    return plan
