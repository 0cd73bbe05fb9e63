"""Statements of the hot paths: compiled once by Django, planned once by PostgreSQL, or sent
together.

For a statement in every request, Django's compiler takes longer than PostgreSQL
(docs/performance.md), and each round trip costs as much as a statement. Everything here uses
Django's connection, transactions and query log. A pooler that gives each transaction another
connection must support prepared statements: PgBouncer does from 1.21.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID, uuid4

from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.backends.postgresql.base import Cursor as ClientCursor
from django.db.backends.postgresql.base import ServerBindingCursor
from django.db.backends.utils import CursorDebugWrapper, CursorWrapper
from django.db.models import Model, QuerySet
from django.db.transaction import TransactionManagementError
from psycopg.pq import TransactionStatus
from psycopg.types.datetime import TimestamptzLoader

M = TypeVar("M", bound=Model)
R = TypeVar("R")
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Statement(Generic[R]):
    """A statement to send with others. `read` makes the result of its first row, or of None, and
    raises refusals."""

    sql: str
    parameters: Sequence[Any]
    read: Callable[[Row | None], R]


def begin_with(*statements: Statement[Any]) -> list[Any]:
    """Send BEGIN and a transaction's first statements in one round trip; return their results.

    To be called first in a block of `transaction.atomic()`. In a nested block the statements join
    the transaction that is open.
    """
    ours = connections[DEFAULT_DB_ALIAS]
    if ours.get_autocommit():
        raise TransactionManagementError("begin_with cannot be used outside of a transaction.")
    texts = [statement.sql for statement in statements]
    begins = ours.connection.pgconn.transaction_status == TransactionStatus.IDLE
    if begins:
        texts.insert(0, "BEGIN")
        # Or psycopg would send BEGIN by itself and wait. Commit and rollback are not affected.
        ours.connection.autocommit = True
    with _kept_cursor(ClientCursor) as cursor:
        cursor.execute("; ".join(texts), [one for each in statements for one in each.parameters])
        if begins:
            cursor.nextset()
        rows = []
        for _statement in statements:
            rows.append(cursor.fetchone())
            cursor.nextset()
    return [statement.read(row) for statement, row in zip(statements, rows, strict=True)]


def commit_with(sql: str, parameters: Mapping[str, Any]) -> Row:
    """Send a transaction's last statement and COMMIT in one round trip; return the statement's row.

    Nothing may be written after it in the block. In a nested block the outermost block commits,
    as usual. An error of the statement rolls back.
    """
    ours = connections[DEFAULT_DB_ALIAS]
    is_outermost = ours.in_atomic_block and not ours.savepoint_ids
    with _kept_cursor(ClientCursor) as cursor:
        cursor.execute(f"{sql}; COMMIT" if is_outermost else sql, parameters)
        row: Row = cursor.fetchone()
    return row


def prepared_cursor() -> AbstractContextManager[CursorWrapper]:
    """A cursor that sends parameters apart from the statement, so that it is prepared.

    Django's usual cursor writes them into the text, so that no statement repeats. Fetch the rows
    within the block: the connection keeps the cursor for the next block.
    """
    return _kept_cursor(ServerBindingCursor)


@contextmanager
def _kept_cursor(kind: type[Any]) -> Iterator[CursorWrapper]:
    """A cursor that the connection keeps for the next block, because a new one looks up again how
    to convert each type."""
    ours = connections[DEFAULT_DB_ALIAS]
    ours.ensure_connection()
    psycopg_connection = ours.connection
    # A block within this one makes its own.
    cursor = psycopg_connection.idle_cursors.pop(kind, None)
    if cursor is None:
        cursor = kind(psycopg_connection)
        # psycopg's own, in C. Django's gives the same for its time zone, UTC, 20 times slower.
        cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
    yield _LoggedCursor(cursor, ours) if ours.queries_logged else ours.make_cursor(cursor)
    psycopg_connection.idle_cursors[kind] = cursor


class _LoggedCursor(CursorDebugWrapper):
    """Writes the statement as given to Django's query log: psycopg has no text for a statement that
    it prepared before."""

    def debug_sql(self, *args: Any, **options: Any) -> AbstractContextManager[None]:
        return super().debug_sql(*args, **options | {"use_last_executed_query": False})


class CompiledQuery(Generic[M]):
    """A queryset that varies in ids only, such as `lambda id: Job.objects.filter(id=id)`.

    It must select whole rows of one table. Compiled at first use.
    """

    def __init__(self, build: Callable[..., QuerySet[M]]) -> None:
        self._build = build
        self._compiled: _Compiled[M] | None = None

    def first(self, *ids: UUID) -> M | None:
        """The row for these ids, or None. Refuses a lock outside a transaction."""
        compiled = self._compile(len(ids))
        if compiled.locks and connection.get_autocommit():
            raise TransactionManagementError("select_for_update cannot be used outside of one.")
        with prepared_cursor() as cursor:
            cursor.execute(compiled.sql, compiled.parameters(ids))
            return compiled.read(cursor.fetchone())

    def statement(self, *ids: UUID, read: Callable[[M | None], R]) -> Statement[R]:
        """The same for `begin_with`; `read` gets the row for these ids, or None."""
        compiled = self._compile(len(ids))
        return Statement(
            compiled.sql, compiled.parameters(ids), lambda row: read(compiled.read(row))
        )

    def _compile(self, count: int) -> _Compiled[M]:
        if self._compiled is None:
            self._compiled = _Compiled(self._build, count)
        return self._compiled


class _Compiled(Generic[M]):
    def __init__(self, build: Callable[..., QuerySet[M]], count: int) -> None:
        stand_ins = [uuid4() for _ in range(count)]
        queryset = build(*stand_ins)
        self._model = queryset.model
        self.locks = queryset.query.select_for_update
        # The proxy: each thread has its own connection.
        self._compiler: Any = queryset.query.get_compiler(connection=connection)
        self.sql, parameters = self._compiler.as_sql()
        self._parameters = [
            (stand_ins.index(one), None) if one in stand_ins else (None, one) for one in parameters
        ]
        columns = [column for column, _sql, _alias in self._compiler.select]
        self._names = [column.target.attname for column in columns]
        self._converters = self._compiler.get_converters(columns)

    def parameters(self, ids: tuple[UUID, ...]) -> list[Any]:
        return [constant if place is None else ids[place] for place, constant in self._parameters]

    def read(self, row: Row | None) -> M | None:
        if row is None:
            return None
        [values] = self._compiler.apply_converters([row], self._converters)
        return self._model.from_db(connection.alias, self._names, values)
