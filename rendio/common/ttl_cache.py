"""A cache in this process whose values expire: functools.cache with a time to live."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class _Entry:
    """A value and when its load began. The lock lets one thread load it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.value: Any = None
        self.loaded_at = float("-inf")


class TtlCached(Generic[P, T]):
    def __init__(self, function: Callable[P, T], seconds: Callable[[], float]) -> None:
        self._function, self._seconds = function, seconds
        self._entries: dict[Hashable, _Entry] = {}
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        entry = self._entries.setdefault((args, tuple(sorted(kwargs.items()))), _Entry())
        if self._is_expired(entry):
            with entry.lock:
                if self._is_expired(entry):
                    began = time.monotonic()
                    entry.value = self._function(*args, **kwargs)
                    entry.loaded_at = began
        value: T = entry.value
        return value

    def cache_clear(self) -> None:
        """Load again at the next call. A load that has begun is not kept."""
        self._entries = {}

    def _is_expired(self, entry: _Entry) -> bool:
        return time.monotonic() - entry.loaded_at > self._seconds()


def ttl_cache(seconds: Callable[[], float]) -> Callable[[Callable[P, T]], TtlCached[P, T]]:
    """Keep the function's result for `seconds()`, which is read at each call, since it is a
    setting.

    One thread loads an expired value; the others wait for it. An exception is not kept. Entries
    are never removed: only for few different arguments, which must be hashable.
    """
    return lambda function: TtlCached(function, seconds)
