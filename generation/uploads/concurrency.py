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
# A call with the images of a training takes a slot for each image in turn, and a thread for long.
_training_slots = threading.BoundedSemaphore(max(settings.WEB_THREADS // 4, 1))
RETRY_AFTER_SECONDS = 5

_lock = threading.Lock()
_fetching: set[UUID] = set()
_sending_trainings: set[UUID] = set()


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
    with _one_per_user(_fetching, user_id), _acquire(_fetch_slots):
        yield


@contextmanager
def training_slot(user_id: UUID) -> Iterator[None]:
    """Hold a slot for the images of a training. Each user may hold one. Raises as `fetch_slot`."""
    with _one_per_user(_sending_trainings, user_id), _acquire(_training_slots):
        yield


@contextmanager
def _one_per_user(users: set[UUID], user_id: UUID) -> Iterator[None]:
    with _lock:
        if user_id in users:
            raise RateLimited(retry_after=RETRY_AFTER_SECONDS)
        users.add(user_id)
    try:
        yield
    finally:
        with _lock:
            users.discard(user_id)


@contextmanager
def _acquire(slots: threading.BoundedSemaphore) -> Iterator[None]:
    if not slots.acquire(blocking=False):
        raise UploadsUnavailable
    try:
        yield
    finally:
        slots.release()
