"""Graceful shutdown of a worker: it finishes its current batch and claims no more."""

from __future__ import annotations

import mmap
from typing import Any

# One byte in memory that a worker's main process, which gets the signal, shares with its forked
# children, which do the work.
_requested = mmap.mmap(-1, 1)


def request(**_: Any) -> None:
    """Request the shutdown of this process and of its forked children. Cannot be undone."""
    _requested[0] = 1


def is_requested() -> bool:
    return _requested[0] == 1
