"""Fixtures for the tests of credits."""

from __future__ import annotations

import pytest

from tests.helpers.wallet import TestWallet


@pytest.fixture
def wallet(db: None) -> TestWallet:
    """An empty wallet."""
    return TestWallet()
