"""Due work: an app declares each kind of background work once; the rest follows from that.

`DueWork` names the Celery task, the rows that are due, the queue and the interval. Each app
declares its kinds in a module `due_work`, above its models and below everything that enqueues.
`due_work` or `due_batch` decorates the handler and makes the Celery task. From the declaration
follow the schedule (rendio.beat_scheduler), the wake-up after a commit (`DueWork.wake_workers`),
and the lines of the backlog in /statusz and /metrics (adminops.monitoring.backlog).

The due row is the queue. A message means "look now": a message that is lost, doubled or late
changes only when a worker looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from celery import shared_task
from django.db.models import F, IntegerField, QuerySet, Value
from django.db.models.functions import Now
from django.utils.module_loading import autodiscover_modules

from rendio.common import clock
from rendio.common.background import wakeup
from rendio.common.background.due_rows import DueRow, claim_due, drain, for_each_logged
from rendio.common.db import prepared_cursor

Row_contra = TypeVar("Row_contra", bound=DueRow, contravariant=True)
Row = TypeVar("Row", bound=DueRow)
BatchHandler = TypeVar("BatchHandler", bound="Callable[..., int | None]")


class RowHandler(Protocol[Row_contra]):
    def __call__(self, row: Row_contra, /, *, now: datetime) -> object: ...


@dataclass(frozen=True)
class DueRows:
    """The rows of `rows()` are due once the time in `column` has come; an index serves `column`.

    `label` names the rows in the backlog; rows with an empty label are not in the backlog.
    `late_column` is for rows that may wait although they are due: the backlog counts from that
    time. `queue` is the Celery queue whose workers handle these rows, where a kind has several.
    """

    label: str
    rows: Callable[[], QuerySet[Any]]
    column: str = "due_at"
    late_column: str = ""
    queue: str = ""


class DueWork:
    """A kind of due work; `batch` is how many rows its handler claims at once.

    Beat wakes a worker of `queue` at most every `every_seconds`, and only while a row is due; with
    `is_periodic`, always. Where rows have queues of their own, the task gets the queue's name.
    """

    def __init__(
        self,
        task: str,
        *rows: DueRows,
        every_seconds: float,
        queue: str = "high",
        batch: int = 1,
        time_limit_seconds: int | None = None,
        is_periodic: bool = False,
    ) -> None:
        self.task = task
        self.rows = rows
        self.every_seconds = every_seconds
        self.batch = batch
        self.is_periodic = is_periodic
        self._queue = queue
        self._time_limit_seconds = time_limit_seconds
        self._handler: Callable[..., int | None] | None = None
        self._celery_task: Any = None
        _kinds[task] = self

    @property
    def queues(self) -> list[str]:
        """The Celery queues whose workers handle this kind."""
        return sorted({rows.queue or self._queue for rows in self.rows} or {self._queue})

    def arguments(self, queue: str) -> dict[str, str]:
        """The keyword arguments of the task."""
        return {"queue": queue} if any(rows.queue for rows in self.rows) else {}

    def wake_workers(self, *, queue: str = "") -> None:
        """After the commit (now, without a transaction), have a worker look for due rows."""
        queue = queue or self._queue
        wakeup.enqueue_on_commit(self.task, queue=queue, arguments=self.arguments(queue))

    def run_batch(self, *, now: datetime, **arguments: str) -> int:
        """Claim and handle one batch; returns how many rows were claimed."""
        self._load_handler()
        assert self._handler, f"{self.task} has no handler."  # noqa: S101
        return self._handler(now=now, **arguments) or 0

    @property
    def celery_task(self) -> Any:
        self._load_handler()
        return self._celery_task

    def _load_handler(self) -> None:
        """The handlers are decorated when the apps' modules `tasks` are imported."""
        if self._handler is None:
            autodiscover_modules("tasks")

    def handle_with(self, handler: Callable[..., int | None]) -> None:
        """Make the Celery task, which calls `handler` until no row is due."""
        self._handler = handler

        def task(**arguments: str) -> None:
            drain(lambda: self.run_batch(now=clock.now(), **arguments), batch=self.batch)

        options: dict[str, Any] = {"name": self.task}
        if self._time_limit_seconds:
            options["time_limit"] = self._time_limit_seconds
        self._celery_task = shared_task(**options)(task)


_kinds: dict[str, DueWork] = {}


def kinds() -> list[DueWork]:
    """All kinds of due work of the installed apps (rendio.apps loads them)."""
    return list(_kinds.values())


def due_work(
    kind: DueWork, *, stop_on: type[Exception] | tuple[type[Exception], ...] = ()
) -> Callable[[RowHandler[Row]], RowHandler[Row]]:
    """Decorate the handler of one row of `kind`, whose rows are of one model (`DueRow`).

    The handler runs outside of any transaction. An exception is logged, and the row is due again
    later; an exception of `stop_on` ends the batch
    (rendio.common.background.due_rows.for_each_logged).
    """
    [due_rows] = kind.rows

    def decorate(handler: RowHandler[Row]) -> RowHandler[Row]:
        def run_batch(*, now: datetime) -> int:
            rows = claim_due(due_rows.rows(), now=now, limit=kind.batch)
            for_each_logged(rows, lambda row: handler(row, now=now), stop_on=stop_on)
            return len(rows)

        kind.handle_with(run_batch)
        return handler

    return decorate


def due_batch(kind: DueWork) -> Callable[[BatchHandler], BatchHandler]:
    """Decorate the handler of a batch of `kind`: `handler(*, now)`, or `handler(*, queue, now)`.

    The handler itself claims up to `kind.batch` rows and returns how many; None ends the task.
    """

    def decorate(handler: BatchHandler) -> BatchHandler:
        kind.handle_with(handler)
        return handler

    return decorate


def oldest_due(
    rows: Sequence[DueRows], *, now: datetime | Now, by_late_column: bool = False
) -> QuerySet[Any, tuple[int, datetime]]:
    """The index in `rows` and the due time of the longest due row, where there is a due row.

    One query, which looks up one row of each by its index.
    """

    def oldest(number: int, one: DueRows) -> QuerySet[Any, tuple[int, datetime]]:
        column = (by_late_column and one.late_column) or one.column
        due = one.rows().filter(**{f"{column}__lte": now}).order_by(column)
        return due.values_list(Value(number, IntegerField()), F(column))[:1]

    first, *others = (oldest(number, one) for number, one in enumerate(rows))
    return first.union(*others, all=True)


class DueLookup:
    """Asks PostgreSQL, by one prepared statement, which kinds of due work have a due row.

    The statement is compiled once, at the first use.
    """

    def __init__(self, kinds: Iterable[DueWork]) -> None:
        self._rows = [(kind, rows) for kind in kinds if not kind.is_periodic for rows in kind.rows]
        self._statement: tuple[str, tuple[Any, ...]] | None = None

    def find(self) -> set[tuple[DueWork, str]]:
        """Each kind that has a due row, with the queue of the row. Raises Django's database
        errors."""
        if self._statement is None:
            query = oldest_due([rows for _, rows in self._rows], now=Now()).query
            self._statement = query.sql_with_params()
        with prepared_cursor() as cursor:
            cursor.execute(*self._statement)
            numbers = [number for number, _ in cursor.fetchall()]
        return {
            (kind, rows.queue or kind.queues[0])
            for kind, rows in (self._rows[number] for number in numbers)
        }
