"""Whether this worker has been asked to end: it finishes what it has in hand and claims no more."""

from __future__ import annotations

import mmap
from typing import Any

# One byte, shared by a worker's main process, which hears the signal, with the children that it
# forks, which do the work.
_begun = mmap.mmap(-1, 1)


def begin(**_: Any) -> None:
    """For this process and all that are forked from it, for good."""
    _begun[0] = 1


def has_begun() -> bool:
    return _begun[0] == 1
