"""Waiting for what other threads and processes do, with a bound that only a fault reaches."""

import time
from collections.abc import Callable
from typing import TypeVar

# It costs nothing where all is well, and a machine with much else to do needs it.
PATIENCE_SECONDS = 300

Seen = TypeVar("Seen")


def wait_for(look: Callable[[], Seen], *, describe: Callable[[], object] = str) -> Seen:
    """Return what `look` gives once that is true. Fail with `describe()` after PATIENCE_SECONDS."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    delay = 0.02
    while not (seen := look()):
        assert time.monotonic() < give_up_at, describe() or f"it did not come true: {seen!r}"
        time.sleep(delay)
        # What takes long is looked at less often: looking costs the processes waited for, too.
        delay = min(1.2 * delay, 0.1)
    return seen
