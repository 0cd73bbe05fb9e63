"""Limits on the threads of a process that process images at the same time.

Ingesting an image is slow: one image is decoded at a time, the virus scan takes seconds, and a
foreign server may use the whole timeout. Without these limits, a few simultaneous calls would
occupy all threads of the API.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.conf import settings

from generation.errors import UploadsUnavailable
from rendio.common.errors import RateLimited

# Half of the threads may process images, and half of those may fetch from foreign servers, so that
# an upload that has arrived does not wait for foreign servers.
_processing_slots = threading.BoundedSemaphore(max(settings.WEB_THREADS // 2, 1))
_fetch_slots = threading.BoundedSemaphore(max(settings.WEB_THREADS // 4, 1))
RETRY_AFTER_SECONDS = 5

_lock = threading.Lock()
_fetching: set[UUID] = set()


@contextmanager
def processing_slot() -> Iterator[None]:
    """Hold a processing slot. Raises UploadsUnavailable at once if none is free."""
    with _acquire(_processing_slots):
        yield


@contextmanager
def fetch_slot(user_id: UUID) -> Iterator[None]:
    """Hold a fetch slot. Each user may hold one.

    Raises UploadsUnavailable if no slot is free, RateLimited while the user already holds one.
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
