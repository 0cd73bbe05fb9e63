"""Limits of the wait for PostgreSQL, for statements and connection attempts.

PostgreSQL itself enforces statement_timeout, so a stopped PostgreSQL does not; the kernel of its
machine keeps acknowledging TCP keepalives. Two limits of our own apply:

- After a wait of DB_HANG_SECONDS the thread asks on a second connection whether PostgreSQL answers
at all. A slow statement keeps waiting. A server that is silent on both connections is marked as
silent: all waits of this process end, and new statements fail at once, except one attempt every
RETRY_SECONDS. The first response to such an attempt ends the silence. - `at_most` limits all waits
of a block together, for any reason.

Both raise NoAnswer, an OperationalError, and close the connection: a late response must not be
taken for the response to the next statement. Whether an interrupted COMMIT took place is unknown,
as with any lost connection.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import TypeVar

import psycopg
import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError
from psycopg.waiting import READY_R

logger = structlog.get_logger(__name__)

RETRY_SECONDS = 0.5
# admin_shutdown, crash_shutdown, cannot_connect_now, too_many_connections
GOING_AWAY = {"57P01", "57P02", "57P03", "53300"}

Waits = TypeVar("Waits")
Result = TypeVar("Result")


class NoAnswer(psycopg.OperationalError):
    """PostgreSQL did not answer within one of our limits."""


class TookTooLong(NoAnswer):
    """The block's limit (`at_most`) was reached; PostgreSQL may be fine."""


def is_out_of_reach(error: BaseException) -> bool:
    """Whether Django's `error` means that PostgreSQL could not be reached, or went away.

    All other errors have a code of PostgreSQL's, lock and statement time-outs included. Class 08 is
    for connections; PgBouncer uses it.
    """
    cause = error.__cause__
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    state = getattr(cause, "sqlstate", None)
    return state is None or state in GOING_AWAY or state.startswith("08")


class _Budget:
    """The seconds that a block may still wait."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds


_budget: ContextVar[_Budget | None] = ContextVar("database_budget", default=None)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Limit the total wait for PostgreSQL within the block.

    Other time of the block does not count. An outer block's limit applies too.
    """
    outer = _budget.get()
    budget = _Budget(min(seconds, outer.left) if outer else seconds)
    token = _budget.set(budget)
    try:
        yield
    finally:
        _budget.reset(token)


@contextmanager
def unbudgeted() -> Iterator[None]:
    """Suspend the limits of outer `at_most` blocks within the block; waits do not count there."""
    token = _budget.set(None)
    try:
        yield
    finally:
        _budget.reset(token)


class Silence:
    """Whether PostgreSQL is silent, as far as this process knows. Shared by all threads."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._lock = threading.Lock()
        self._is_probing = False
        self._retry_at = 0.0
        self.is_known = False

    def check(self) -> bool:
        """Whether this wait is the attempt that finds out if the silence is over.

        Raises NoAnswer for every other wait while PostgreSQL is silent.
        """
        if not self.is_known:
            return False
        with self._lock:
            if not self.is_known:
                return False
            if monotonic() < self._retry_at:
                raise NoAnswer("PostgreSQL does not answer.")
            self._retry_at = monotonic() + settings.DB_HANG_SECONDS
            return True

    def find_out(self, probe: Callable[[], bool]) -> bool:
        """Ask `probe` whether PostgreSQL answers, unless another thread does. Returns whether it
        did."""
        with self._lock:
            if self._is_probing or self.is_known:
                return False
            self._is_probing = True
        try:
            if probe():
                return True
            self.begin()
            return False
        finally:
            self._is_probing = False

    def begin(self) -> None:
        """PostgreSQL is silent."""
        with self._lock:
            if self.is_known:
                return
            self.is_known = True
            self._retry_at = monotonic() + RETRY_SECONDS
        logger.error("database_silent")

    def retried(self) -> None:
        """An attempt is over; the next follows a little later, if needed."""
        with self._lock:
            self._retry_at = monotonic() + RETRY_SECONDS

    def end(self) -> None:
        """PostgreSQL has answered."""
        if not self.is_known:
            return
        with self._lock:
            if not self.is_known:
                return
            self.is_known = False
        logger.warning("database_answers_again")


silence = Silence()
# A lock that another thread holds at a fork would stay locked in the child.
os.register_at_fork(after_in_child=silence.forget)


def limited(
    gen: Generator[Waits, int, Result], *, probe: Callable[[], bool]
) -> Generator[Waits, int, Result]:
    """A statement's waits, with the limits applied. Raises NoAnswer.

    psycopg resumes the generator every 0.1 s with 0 while nothing is ready.
    """
    is_retry = silence.check()
    has_heard = False
    began = monotonic()
    suspect_at = began + settings.DB_HANG_SECONDS
    budget = _budget.get()
    try:
        waits = next(gen)
        while True:
            ready = yield waits
            has_heard = has_heard or bool(ready & READY_R)
            if not ready:
                now = monotonic()
                if now >= suspect_at and not is_retry and silence.find_out(probe):
                    suspect_at = monotonic() + settings.DB_HANG_SECONDS
                if now >= suspect_at if is_retry else silence.is_known:
                    raise NoAnswer("PostgreSQL does not answer.")
                if budget and now - began >= budget.left:
                    raise TookTooLong("PostgreSQL took too long.")
            waits = gen.send(ready)
    except StopIteration as done:
        if has_heard:
            silence.end()
        result: Result = done.value
        return result
    finally:
        if is_retry:
            silence.retried()
        if budget:
            budget.left -= monotonic() - began


def limited_attempt(gen: Generator[Waits, int, Result]) -> Generator[Waits, int, Result]:
    """A connection attempt's waits, with the limits applied. Raises NoAnswer."""
    began = monotonic()
    budget = _budget.get()
    try:
        waits = next(gen)
        while True:
            ready = yield waits
            if not ready:
                waited = monotonic() - began
                if waited >= settings.DB_HANG_SECONDS:
                    raise NoAnswer("PostgreSQL does not answer.")
                if budget and waited >= budget.left:
                    raise TookTooLong("PostgreSQL took too long.")
            waits = gen.send(ready)
    except StopIteration as done:
        result: Result = done.value
        return result
    finally:
        if budget:
            budget.left -= monotonic() - began
