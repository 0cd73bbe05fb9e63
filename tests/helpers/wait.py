"""Waiting for what other threads and processes do, with a bound that only a fault reaches."""

import time
from collections.abc import Callable
from typing import TypeVar

# It costs nothing where all is well, and a machine with much else to do needs it.
PATIENCE_SECONDS = 300

Seen = TypeVar("Seen")


def eventually(look: Callable[[], Seen], *, told: Callable[[], object] = str) -> Seen:
    """What `look` gives once that is true; fails with what is `told` when it does not come true."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not (seen := look()):
        assert time.monotonic() < give_up_at, told() or f"it did not come true: {seen!r}"
        time.sleep(0.02)
    return seen
