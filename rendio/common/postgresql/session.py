"""Checks of a new connection, direct or through a pooler.

PostgreSQL enforces three limits for us: on a statement, on a wait for a lock, on an idle
transaction. A direct connection sets them by the parameter `options`. A pooler in transaction mode
gives each transaction another session of PostgreSQL, and passes no `options` on: with DB_POOLED the
limits are those of our role (`manage.py limit_role`). A connection without them is refused, since
nothing else would show it.

The prepared statements of rendio.common.db need a pooler that supports them. Such a pooler renames
them at PostgreSQL; another passes our names on, into a session where another transaction misses
them. psycopg needs PgBouncer 1.22: https://www.psycopg.org/psycopg3/docs/advanced/prepare.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

# A name that psycopg gives.
OURS = "_pg3_"
# Prepared, it finds the name that PostgreSQL knows it by.
FIND_ITSELF = "SELECT name FROM pg_prepared_statements WHERE statement = current_query()"
PAGE = "docs/connections.md"


class Unusable(psycopg.OperationalError):
    """PostgreSQL answers, but the connection lacks something that Rendio needs."""


class PoolerUnknown(Unusable):
    def __init__(self) -> None:
        super().__init__(
            "A pooler in front of PostgreSQL refuses the limits of a connection. If the pooler is"
            f" in transaction mode, set DB_POOLED=true ({PAGE})."
        )


class NoLimits(Unusable):
    def __init__(self, names: list[str]) -> None:
        super().__init__(
            f"The role has no {', '.join(names)}. Run manage.py limit_role, and let the pooler"
            f" RECONNECT ({PAGE})."
        )


class NotPrepared(Unusable):
    def __init__(self) -> None:
        super().__init__(
            "DATABASE_URL names no pooler in transaction mode that supports prepared statements,"
            " such as PgBouncer 1.22 or later with max_prepared_statements above 0. For PostgreSQL"
            f" itself, set DB_POOLED=false ({PAGE})."
        )


def refuses_options(error: psycopg.OperationalError) -> bool:
    """Whether a connection attempt failed because PgBouncer, by default, refuses `options`."""
    return "unsupported startup parameter" in str(error)


def check(
    connection: psycopg.Connection[Any], *, limits_ms: Mapping[str, int], is_pooled: bool
) -> None:
    """Raises Unusable. `connection` is new, and in no transaction afterwards.

    `limits_ms` are milliseconds by PostgreSQL's names; 0 is none.
    """
    cursor = psycopg.Cursor(connection)
    found = {
        name: (setting, source)
        for name, setting, source in cursor.execute(
            "SELECT name, setting, source FROM pg_settings WHERE name = ANY(%s)",
            [list(limits_ms)],
            prepare=False,
        )
    }
    if is_pooled:
        if missing := [name for name, ms in limits_ms.items() if ms and found[name][0] == "0"]:
            raise NoLimits(missing)
        _check_prepared(cursor)
    elif any(source != "client" for _setting, source in found.values()):
        # "client": by the connection's own parameters.
        raise PoolerUnknown
    connection.commit()


def _check_prepared(cursor: psycopg.Cursor[Any]) -> None:
    """Within the transaction that is open, so within one session of PostgreSQL."""
    try:
        found = cursor.execute(FIND_ITSELF, prepare=True).fetchall()
        for (name,) in found:
            if name.startswith(OURS):
                cursor.execute(f'DEALLOCATE "{name}"', prepare=False)
                raise NotPrepared
        # As psycopg does after a rollback. PgBouncer before 1.22 does not notice, and takes the
        # next statement for prepared (https://www.pgbouncer.org/changelog.html).
        cursor.execute("DEALLOCATE ALL", prepare=False)
        cursor.execute(FIND_ITSELF, prepare=True)
    except (
        psycopg.errors.DuplicatePreparedStatement,  # by another of our connections
        psycopg.errors.InvalidSqlStatementName,
    ):
        raise NotPrepared from None
