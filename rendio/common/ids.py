"""Time-ordered ids for tables with frequent inserts."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from uuid import UUID

HIGHEST_UUID = UUID(int=(1 << 128) - 1)


def uuid7() -> UUID:
    """A UUID version 7 (RFC 9562, 5.7): milliseconds, then 74 random bits.

    New rows land at the right end of the index: random ids double the write-ahead log at a million
    rows. Python has uuid.uuid7 only from 3.14 on.
    """
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10))
    value = (milliseconds & ((1 << 48) - 1)) << 80
    value |= 0x7 << 76
    value |= ((random >> 64) & 0xFFF) << 64
    value |= 0b10 << 62
    value |= random & ((1 << 62) - 1)
    return UUID(int=value)


def lowest_uuid7(at: datetime) -> UUID:
    """A lower bound for ids made at or after `at`: the rows of a day are a range of the primary
    key."""
    return UUID(int=int(at.timestamp() * 1000) << 80)


def time_of_uuid7(uuid7: UUID) -> datetime:
    """When this id was made, in UTC, to the millisecond."""
    return datetime.fromtimestamp((uuid7.int >> 80) / 1000, UTC)
