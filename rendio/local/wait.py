"""Waiting on conditions, always with a bound."""

import time
from collections.abc import Callable

import requests

Pause = Callable[[float], None]
"""Sleep for so many seconds. The supervisor's implementation raises when it is asked to stop."""


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


def answers(url: str) -> bool:
    """Whether this URL on our own machine answers with success now."""
    with requests.Session() as http:
        http.trust_env = False  # a proxy cannot reach our loopback
        try:
            return http.get(url, timeout=5).ok
        except requests.RequestException:
            return False
