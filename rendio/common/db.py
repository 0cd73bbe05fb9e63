"""Statements of the hot paths: compiled once by Django, planned once by PostgreSQL.

For a statement in every request, Django's compiler takes longer than PostgreSQL
(docs/performance.md). Everything here uses Django's connection, transactions and query log. A
pooler that gives each transaction another connection must support prepared statements: PgBouncer
does from 1.21.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, Generic, TypeVar
from uuid import UUID, uuid4

from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.backends.postgresql.base import ServerBindingCursor
from django.db.backends.utils import CursorDebugWrapper, CursorWrapper
from django.db.models import Field, Model, QuerySet
from django.db.transaction import TransactionManagementError

M = TypeVar("M", bound=Model)


def prepared_cursor() -> CursorWrapper:
    """A cursor that sends parameters apart from the statement, so that it is prepared.

    Django's usual cursor writes them into the text, so that no statement repeats.
    """
    ours = connections[DEFAULT_DB_ALIAS]
    ours.ensure_connection()
    # The stubs know neither its base class nor that any DB-API cursor can be wrapped.
    cursor: Any = ServerBindingCursor(ours.connection)  # type: ignore[call-arg]
    if ours.queries_logged:
        return _LoggedCursor(cursor, ours)
    return ours.make_cursor(cursor)


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
        if self._compiled is None:
            self._compiled = _Compiled(self._build, len(ids))
        return self._compiled.first(ids)


class _Compiled(Generic[M]):
    def __init__(self, build: Callable[..., QuerySet[M]], count: int) -> None:
        stand_ins = [uuid4() for _ in range(count)]
        queryset = build(*stand_ins)
        self._model = queryset.model
        self._locks = queryset.query.select_for_update
        # The proxy: each thread has its own connection.
        self._compiler: Any = queryset.query.get_compiler(connection=connection)
        self._sql, parameters = self._compiler.as_sql()
        self._parameters = [
            (stand_ins.index(one), None) if one in stand_ins else (None, one) for one in parameters
        ]
        columns = [column for column, _sql, _alias in self._compiler.select]
        self._names = [column.target.attname for column in columns]
        self._converters = self._compiler.get_converters(columns)

    def first(self, ids: tuple[UUID, ...]) -> M | None:
        if self._locks and connection.get_autocommit():
            raise TransactionManagementError("select_for_update cannot be used outside of one.")
        with prepared_cursor() as cursor:
            cursor.execute(
                self._sql,
                [constant if place is None else ids[place] for place, constant in self._parameters],
            )
            row = cursor.fetchone()
        if row is None:
            return None
        [values] = self._compiler.apply_converters([row], self._converters)
        return self._model.from_db(connection.alias, self._names, values)


def insert(
    row: Model,
    *,
    preface: str = "",
    computed: Mapping[str, str] | None = None,
    returning: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
) -> tuple[Any, ...]:
    """Insert a new row like `row.save(force_insert=True)`, without signals.

    `preface` is a WITH clause, `computed` maps columns to SQL expressions, both with named
    `parameters`. Returns the values of `returning`, in order; the row does not get them.
    """
    sql, fields = _insertion(type(row), preface, tuple((computed or {}).items()), tuple(returning))
    # Not the proxy `connection`, which looks up the thread's connection at each access.
    ours = connections[DEFAULT_DB_ALIAS]
    values = {
        _place(field): field.get_db_prep_save(field.pre_save(row, True), ours) for field in fields
    }
    returned: tuple[Any, ...] = ()
    with prepared_cursor() as cursor:
        cursor.execute(sql, values | dict(parameters or {}))
        if returning:
            returned = cursor.fetchone()
    row._state.adding, row._state.db = False, connection.alias
    return returned


@cache
def _insertion(
    model: type[Model],
    preface: str,
    computed: tuple[tuple[str, str], ...],
    returning: tuple[str, ...],
) -> tuple[str, list[Field[Any, Any]]]:
    """The statement, and the fields whose values it takes."""
    expressions = dict(computed)
    fields = list(model._meta.local_concrete_fields)
    columns = ", ".join(connection.ops.quote_name(field.column or "") for field in fields)
    places = ", ".join(expressions.get(field.attname) or f"%({_place(field)})s" for field in fields)
    table = connection.ops.quote_name(model._meta.db_table)
    sql = f"{preface} INSERT INTO {table} ({columns}) VALUES ({places})"  # noqa: S608
    if returning:
        sql += f" RETURNING {', '.join(returning)}"
    return sql, [field for field in fields if field.attname not in expressions]


def _place(field: Field[Any, Any]) -> str:
    """The parameter's name, distinct from those of expressions."""
    return f"row_{field.attname}"
