"""Server-sent events of a job: one event at once, one for each change, the last at the job's end.

One thread of each process reads all streamed jobs in one query a second. A waiting stream holds no
database connection and needs no Redis. Each stream holds a thread of its own, apart from the
threads that answer calls: at most EVENT_STREAMS_PER_PROCESS, and EVENT_STREAMS_PER_USER per user.
Beyond these limits a stream closes after its first event. Every stream closes after
LIFETIME_SECONDS. Each event states when the client should reconnect.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import Error as DatabaseFailure
from django.db import connection, connections
from django.utils import translation

from accounts import revocations
from generation import queries
from generation.models import JobStatus
from generation.queries import JobState
from generation.serializers import job_status
from rendio.common import clock
from rendio.common.background.threads import BackgroundThread
from rendio.common.postgresql.limits import at_most
from rendio.common.web.responses import to_json

logger = structlog.get_logger(__name__)

READ_SECONDS = 1.0
LATE_SECONDS = 30
LIFETIME_SECONDS = 300
# Interval of the comments that detect a lost connection or an ended session.
HEARTBEAT_SECONDS = 5

Body = dict[str, Any]


class _Subscription:
    """One stream's job and its pending events. None in `updates` closes the stream."""

    def __init__(self, job: JobState, last_sent: Body, language_now: Callable[[], str]) -> None:
        self.job_id = job.id
        self.user_id = job.user_id
        self.updates: queue.SimpleQueue[Body | None] = queue.SimpleQueue()
        self._language_now = language_now
        self._last_sent = _comparable_fields(last_sent)

    def publish(self, job: JobState | None) -> None:
        if job is None:
            self.updates.put(None)
            return
        with translation.override(self._language_now()):
            body = job_status(job, now=clock.now())
        if (fields := _comparable_fields(body)) != self._last_sent:
            self._last_sent = fields
            self.updates.put(body)


def _comparable_fields(body: Body) -> tuple[Any, ...]:
    """Fields whose change sends an event. Remaining seconds and URL signatures do not."""
    names = ("status", "progress", "queue_position", "refunded")
    return (*(body[name] for name in names), bool(body["thumbnail_url"]))


class _Broadcaster:
    """The thread that reads jobs and publishes changes while any stream is open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscriptions: set[_Subscription] = set()
        self._thread = BackgroundThread(
            "streams",
            wait=self._wait,
            turn=self._read_and_publish,
            late_seconds=LATE_SECONDS,
            at_end=connections.close_all,
        )
        self._stopped = False

    def add(self, subscription: _Subscription) -> bool:
        """False if a limit of streams is reached."""
        with self._lock:
            if self._stopped or len(self._subscriptions) >= settings.EVENT_STREAMS_PER_PROCESS:
                return False
            count_of_user = sum(
                other.user_id == subscription.user_id for other in self._subscriptions
            )
            if count_of_user >= settings.EVENT_STREAMS_PER_USER:
                return False
            self._subscriptions.add(subscription)
        self._thread.start()
        return True

    def remove(self, subscription: _Subscription) -> None:
        with self._lock:
            self._subscriptions.discard(subscription)

    def stop(self) -> None:
        """Close all streams and refuse new ones. For a signal handler: takes no lock."""
        self._stopped = True
        for subscription in list(self._subscriptions):
            subscription.updates.put(None)

    def _wait(self) -> bool:
        """False without streams: the next stream starts the thread again."""
        time.sleep(READ_SECONDS)
        return bool(self._subscriptions)

    def _read_and_publish(self) -> None:
        with self._lock:
            subscriptions = list(self._subscriptions)
        try:
            with at_most(settings.DB_REQUEST_SECONDS):
                jobs = queries.get_states({one.job_id for one in subscriptions})
        except DatabaseFailure as error:
            logger.warning("streams_not_read", error=type(error).__name__)
            connection.close()
            return
        for subscription in subscriptions:
            try:
                subscription.publish(jobs.get(subscription.job_id))
            except Exception:
                # One invalid job must not stop the other streams.
                logger.exception("stream_not_shown", job_id=str(subscription.job_id))


_broadcaster = _Broadcaster()


def events(job: JobState, *, session_id: UUID, language_now: Callable[[], str]) -> Iterator[bytes]:
    """The text/event-stream of the caller's own job.

    Each event is in the language that the phone requested, else in the profile's current language.
    """
    body = job_status(job, now=clock.now())
    return _stream(_Subscription(job, body, language_now), body, session_id)


def _stream(subscription: _Subscription, body: Body, session_id: UUID) -> Iterator[bytes]:
    yield _event(body)
    if _has_ended(body) or not _broadcaster.add(subscription):
        return
    try:
        if not connection.in_atomic_block:
            # Otherwise this thread would hold the connection while it waits.
            connection.close()
        yield from _updates(subscription, session_id)
    finally:
        _broadcaster.remove(subscription)


def _updates(subscription: _Subscription, session_id: UUID) -> Iterator[bytes]:
    closes_at = time.monotonic() + LIFETIME_SECONDS
    while time.monotonic() < closes_at and not revocations.is_revoked(session_id):
        try:
            body = subscription.updates.get(timeout=HEARTBEAT_SECONDS)
        except queue.Empty:
            yield b":\n\n"
            continue
        if body is None:
            return
        yield _event(body)
        if _has_ended(body):
            return


def _has_ended(body: Body) -> bool:
    return body["status"] in JobStatus.terminal()


def _event(body: Body) -> bytes:
    retry = f"{body['poll_after_seconds'] * 1000}".encode()
    return b"event: status\nretry: " + retry + b"\ndata: " + to_json(body) + b"\n\n"


def close_on_sigterm() -> None:
    """Close streams on SIGTERM: the server would wait for them. Call in the main thread."""
    before = signal.getsignal(signal.SIGTERM)

    def close_first(number: int, frame: FrameType | None) -> None:
        _broadcaster.stop()
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGTERM, close_first)
