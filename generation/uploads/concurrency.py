"""How many threads of a process may be at work on pictures at the same time.

To take a picture in is slow: its decoder has one turn at a time, the scanner takes seconds, and a
foreign server as long as it likes, up to the limit. Without a bound on these, a few calls at the
same moment hold every thread that answers calls, and the API answers nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.conf import settings

from generation.errors import UploadsUnavailable
from rendio.common.errors import RateLimited

# Half of the threads for pictures, and half of those for pictures that are fetched from elsewhere:
# an upload that has arrived does not wait for foreign servers.
_processing_slots = threading.BoundedSemaphore(max(settings.WEB_THREADS // 2, 1))
_fetch_slots = threading.BoundedSemaphore(max(settings.WEB_THREADS // 4, 1))
RETRY_AFTER_SECONDS = 5

_lock = threading.Lock()
_fetching: set[UUID] = set()


@contextmanager
def processing_slot() -> Iterator[None]:
    """Raises UploadsUnavailable where no place is free, without waiting."""
    with _acquire(_processing_slots):
        yield


@contextmanager
def fetch_slot(user_id: UUID) -> Iterator[None]:
    """Also one of the few places for what a foreign server sends; one for each user.

    Raises UploadsUnavailable, and RateLimited while the user's other picture is being fetched.
    """
    with _lock:
        if user_id in _fetching:
            raise RateLimited(retry_after=RETRY_AFTER_SECONDS)
        _fetching.add(user_id)
    try:
        with _acquire(_fetch_slots):
            yield
    finally:
        with _lock:
            _fetching.discard(user_id)


@contextmanager
def _acquire(slots: threading.BoundedSemaphore) -> Iterator[None]:
    if not slots.acquire(blocking=False):
        raise UploadsUnavailable
    try:
        yield
    finally:
        slots.release()
