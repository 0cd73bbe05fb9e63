"""Waiting on conditions, always with a bound."""

import time
from collections.abc import Callable

Pause = Callable[[float], None]
"""Sleeps for so many seconds. The supervisor's own raises when it was asked to stop."""


def wait_until(
    condition: Callable[[], bool], *, timeout_seconds: float, pause: Pause = time.sleep
) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause(0.05)
    return True
