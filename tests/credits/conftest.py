"""What the tests of money share."""

from __future__ import annotations

import pytest

from tests.helpers.wallet import Purse


@pytest.fixture
def purse(db: None) -> Purse:
    """An empty wallet."""
    return Purse()
