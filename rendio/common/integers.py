"""Serializer of the Redis cache: integers only.

Django's own serializer unpickles, which runs code for anyone who can write to Redis.
"""

from __future__ import annotations

# The integers that Redis itself counts with are of 64 bits: at most 20 characters.
LONGEST = 20


class IntegerSerializer:
    """`OPTIONS["serializer"]` of a RedisCache."""

    def dumps(self, value: object) -> int:
        """Raises TypeError for anything but an integer."""
        if type(value) is not int:
            raise TypeError(f"This cache holds integers, not {type(value).__name__}.")
        return value

    def loads(self, data: bytes | int) -> int:
        """Raises ValueError for anything but an integer."""
        if isinstance(data, int):
            return data
        if len(data) > LONGEST:
            raise ValueError("This cache holds integers.")
        return int(data)
