"""How many examples the fuzz tests and the stateful machines try.

An ordinary run tries a quarter of them, the same ones each time. `--thorough` runs these tests
alone and tries all of them.
"""

from __future__ import annotations

import pytest

is_thorough = False

# Marks the tests that --thorough runs.
budgeted = pytest.mark.budgeted


def examples(count: int) -> int:
    """The budget of this run, of `count` in a thorough one."""
    return count if is_thorough else -(-count // 4)
