"""Django's backend for PostgreSQL (DATABASES["default"]["ENGINE"]).

It adds three things. Every wait for a response is limited (`limits`). A connection that lost its
limits to a pooler is refused (`session`). A persistent connection that the server has closed, as
after a restart, is reopened before a statement is sent: the kernel knows of the close without a
round trip, and nothing has been sent, so nothing runs twice. Within a transaction a lost connection
stays an error.
"""

from __future__ import annotations

import select
from types import SimpleNamespace
from typing import Any

import psycopg
import structlog
from django.conf import settings
from django.db.backends.postgresql import base
from psycopg.pq import TransactionStatus

from rendio.common.postgresql import session
from rendio.common.postgresql.limits import (
    NoAnswer,
    TookTooLong,
    limited,
    limited_attempt,
    silence,
    unbudgeted,
)

logger = structlog.get_logger(__name__)


class Connection(psycopg.Connection[Any]):
    """A connection with limited waits."""

    # Kept for the next statement, by type (rendio.common.db).
    idle_cursors: dict[type[psycopg.Cursor[Any]], psycopg.Cursor[Any]]
    _parameters: dict[str, Any]

    @classmethod
    def connect(cls, conninfo: str = "", **parameters: Any) -> Connection:
        is_retry = silence.check()
        try:
            connection = super().connect(conninfo, **parameters)
        except (NoAnswer, psycopg.errors.ConnectionTimeout) as error:
            if not isinstance(error, TookTooLong):
                silence.begin()
            raise
        except psycopg.OperationalError as error:
            silence.end()  # "connection refused" and the like are answers
            if session.refuses_options(error):
                raise _logged(session.PoolerUnknown()) from error
            raise
        finally:
            if is_retry:
                silence.retried()
        silence.end()
        connection._parameters = parameters
        connection.idle_cursors = {}
        connection._check_session()
        return connection

    def _check_session(self) -> None:
        """Once for each server in each process. Raises Unusable."""
        server = self.info.dsn
        if server in _checked:
            return
        try:
            session.check(self, limits_ms=settings.DB_LIMITS_MS, is_pooled=settings.DB_POOLED)
        except session.Unusable as problem:
            self.close()
            raise _logged(problem) from None
        except BaseException:
            self.close()
            raise
        _checked.add(server)

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> Any:
        return (yield from limited_attempt(super()._connect_gen(conninfo)))

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(limited(gen, probe=self._does_answer), interval, timeout)
        except NoAnswer:
            self.close()
            raise

    def _does_answer(self) -> bool:
        """Whether PostgreSQL responds to a new connection within DB_HANG_SECONDS."""
        limit = {"connect_timeout": settings.DB_HANG_SECONDS}
        try:
            with unbudgeted(), _Probe.connect(**self._parameters | limit) as probe:
                if settings.DB_POOLED:
                    # A pooler accepts the connection on its own.
                    probe.execute("SELECT 1")
        except (NoAnswer, psycopg.errors.ConnectionTimeout):
            return False
        except psycopg.OperationalError:
            return True
        return True


class _Probe(psycopg.Connection[Any]):
    """Waits at most DB_HANG_SECONDS for each response."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        return super().wait(limited_attempt(gen), interval, timeout)


def _logged(problem: session.Unusable) -> session.Unusable:
    """Log once: every call meets the problem."""
    if type(problem) not in _told:
        _told.add(type(problem))
        logger.error("database_connection_unusable", problem=str(problem))
    return problem


# Of this process: servers whose connections passed the checks, and problems that were logged.
_checked: set[str] = set()
_told: set[type[session.Unusable]] = set()


class DatabaseWrapper(base.DatabaseWrapper):
    # psycopg, but for how it connects.
    Database: Any = SimpleNamespace(**vars(psycopg) | {"connect": Connection.connect})

    def ensure_connection(self) -> None:
        if self._is_closed_by_server():
            logger.info("database_reconnected")
            self.close()
        super().ensure_connection()

    def close_if_unusable_or_obsolete(self) -> None:
        """Called at the end of a request; never connects."""
        is_as_configured = self.autocommit == self.settings_dict["AUTOCOMMIT"]
        if is_as_configured and not self.errors_occurred and self.close_at is None:
            return  # `ensure_connection` looks when the connection is used again
        if self._is_closed_by_server():
            self.close()
        else:
            super().close_if_unusable_or_obsolete()

    def _is_closed_by_server(self) -> bool:
        """For a connection outside a transaction; no round trip."""
        if self.connection is None or self.in_atomic_block or not self.autocommit:
            return False
        if self.connection.closed:
            return True
        if self.connection.info.transaction_status != TransactionStatus.IDLE:
            return False
        # Nothing is expected on an idle connection. Data to read is its end, or a notice that
        # precedes its end.
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        return bool(poll.poll(0))
