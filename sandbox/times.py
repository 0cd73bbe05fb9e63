"""Times in Apple's format: milliseconds since 1970."""

import time
from datetime import datetime
from typing import TypeGuard

DAY_MILLISECONDS = 86_400_000

# A time in seconds is a common mistake. Read as milliseconds it is in January 1970.
MIN_PLAUSIBLE_MILLISECONDS = 1_000_000_000_000


def now_in_milliseconds() -> int:
    return time.time_ns() // 1_000_000


def parse_milliseconds(value: object) -> int | None:
    """Return milliseconds from an integer or an ISO date with a time zone. None for anything
    else.
    """
    if isinstance(value, str):
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            return None
        return None if instant.tzinfo is None else int(instant.timestamp() * 1000)
    return value if is_milliseconds(value) else None


def is_milliseconds(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= MIN_PLAUSIBLE_MILLISECONDS
