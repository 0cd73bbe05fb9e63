"""Time and size limits of clients. Every number is a setting; `.env.example` explains it."""

from __future__ import annotations

import resource
from dataclasses import dataclass

from django.conf import settings

from rendio.common.web.parsers import FORM_BYTES

# The only calls that take more than settings.DATA_UPLOAD_MAX_MEMORY_SIZE, below /v1/ and its older
# name.
IMAGE_CALLS, TRAINING_CALLS = ("upload-image", "uploads"), ("train/upload",)
# A connection that sends a file keeps the file open as well.
FILES_PER_CONNECTION = 2
# Files that a process opens in addition to its connections.
OTHER_FILES = 200


@dataclass(frozen=True)
class Limits:
    threads: int
    connections: int
    head_seconds: float
    body_seconds: float
    reader_seconds: float
    queue_seconds: float
    least_bytes_per_second: int
    body_bytes: int
    bytes_by_path: dict[str, int]
    held_bytes: int

    @classmethod
    def from_settings(cls) -> Limits:
        """Raises the process's limit of open files if WEB_CONNECTIONS needs more. If the system
        refuses, fewer connections are allowed."""
        return cls(
            threads=settings.WEB_THREADS,
            connections=_connections(settings.WEB_CONNECTIONS),
            head_seconds=settings.WEB_HEAD_SECONDS,
            body_seconds=settings.WEB_BODY_SECONDS,
            reader_seconds=settings.WEB_READER_SECONDS,
            queue_seconds=settings.WEB_QUEUE_SECONDS,
            least_bytes_per_second=settings.WEB_LEAST_BYTES_PER_SECOND,
            body_bytes=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
            bytes_by_path=_bytes_by_path(IMAGE_CALLS, settings.MAX_UPLOAD_BYTES)
            | _bytes_by_path(TRAINING_CALLS, settings.MAX_TRAINING_UPLOAD_BYTES),
            held_bytes=settings.WEB_BODY_MEMORY_BYTES,
        )

    def body_bytes_for(self, path: str) -> int:
        return self.bytes_by_path.get(path, self.body_bytes)


def _bytes_by_path(calls: tuple[str, ...], file_bytes: int) -> dict[str, int]:
    """The limits of bodies with files of so many bytes."""
    limit = max(file_bytes + FORM_BYTES, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    return {f"{prefix}{call}": limit for prefix in ("/v1/", "/functions/v1/") for call in calls}


def _connections(wanted: int) -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = FILES_PER_CONNECTION * wanted + OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (ValueError, OSError):
        allowed = soft
    return max((allowed - OTHER_FILES) // FILES_PER_CONNECTION, 1)
