"""Revoked sessions whose access tokens are still validly signed.

Each process keeps the ids of the sessions revoked within the lifetime of an access token, and reads
new ones from PostgreSQL every settings.REVOCATION_REFRESH_SECONDS. A request needs no query, and a
logout or ban ends access in every process within that time, with or without Redis. A process that
cannot reach PostgreSQL may be late; it cannot serve much either.

The same thread reads changed languages (accounts.languages), so that a process needs one connection
for both.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import Error as DatabaseFailure
from django.db import connection, connections, transaction

from accounts.languages import ChangedLanguages, changed
from accounts.models import Session
from rendio.common import clock
from rendio.common.background.threads import BackgroundThread
from rendio.common.postgresql.limits import at_most

logger = structlog.get_logger(__name__)

# A transaction sets its time before it commits, and clocks differ: this period is read again.
OVERLAP = timedelta(seconds=60)
FIRST_READ_SECONDS = 10
LATE_SECONDS = 30


class RevokedSessions:
    """The revoked sessions and the thread that reads them. Reading needs no lock: a dict lookup is
    atomic."""

    def __init__(self, changed_languages: ChangedLanguages) -> None:
        self._languages = changed_languages
        self._revoked_at: dict[UUID, datetime] = {}
        self._read_until: datetime | None = None
        self._stopped = threading.Event()
        self._first_read = threading.Event()
        self._thread = BackgroundThread(
            "revocations",
            wait=self._wait,
            turn=self._try_to_refresh,
            late_seconds=LATE_SECONDS,
            at_end=connections.close_all,
        )

    def __contains__(self, session_id: UUID) -> bool:
        return session_id in self._revoked_at

    def add(self, session_ids: Iterable[UUID], *, revoked_at: datetime) -> None:
        for session_id in session_ids:
            self._revoked_at[session_id] = revoked_at

    def refresh(self, *, now: datetime) -> None:
        """Read revocations since the last refresh; drop those whose tokens have expired."""
        oldest = now - timedelta(seconds=settings.ACCESS_TOKEN_SECONDS) - OVERLAP
        since = max(oldest, self._read_until - OVERLAP) if self._read_until else oldest
        revoked = Session.objects.filter(revoked_at__gte=since).values_list("id", "revoked_at")
        self._revoked_at.update(dict(revoked))  # type: ignore[arg-type]
        self._read_until = now
        for session_id, revoked_at in list(self._revoked_at.items()):
            if revoked_at < oldest:
                del self._revoked_at[session_id]

    def start(self) -> None:
        """Start the thread; returns after its first read. It runs until `stop` or the end of the
        process."""
        if self._thread.is_running:
            return
        self._stopped.clear()
        self._first_read.clear()
        self._thread.start()
        # Without its database the process starts too; /readyz names the problem.
        self._first_read.wait(timeout=FIRST_READ_SECONDS)
        atexit.register(self.stop)

    def stop(self) -> None:
        """End the thread; its connection is closed with it."""
        self._stopped.set()
        self._thread.join(timeout=2)

    def _wait(self) -> bool:
        """False ends the thread."""
        is_first = not self._first_read.is_set()
        return not self._stopped.wait(0 if is_first else settings.REVOCATION_REFRESH_SECONDS)

    def _try_to_refresh(self) -> None:
        try:
            with at_most(settings.DB_REQUEST_SECONDS):
                self.refresh(now=clock.now())
                self._languages.refresh(now=clock.now())
        except DatabaseFailure as error:
            logger.warning("revocations_not_read", error=type(error).__name__)
            connection.close()
        finally:
            self._first_read.set()


_revoked = RevokedSessions(changed)


def start() -> None:
    """Start the thread. Call once in each process that serves requests, after the fork."""
    _revoked.start()


def stop() -> None:
    _revoked.stop()


def is_revoked(session_id: UUID) -> bool:
    return session_id in _revoked


def announce(session_ids: list[UUID], *, revoked_at: datetime) -> None:
    """Apply the revocations in this process once the caller's transaction commits."""
    transaction.on_commit(lambda: _revoked.add(session_ids, revoked_at=revoked_at))
