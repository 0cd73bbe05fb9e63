"""Health pages: liveness (/healthz), readiness (/readyz), status of the whole system (/statusz).

Each page answers within two seconds: PostgreSQL is given DATABASE_SECONDS in all, Redis the
time-outs of its client.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import redis
from django.conf import settings
from django.db import Error as DatabaseFailure
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from adminops.monitoring import status
from rendio.common import clock
from rendio.common.background import threads
from rendio.common.postgresql.limits import NoAnswer, at_most

DATABASE_SECONDS = 1.0


def healthz(request: HttpRequest) -> JsonResponse:
    """The process lives. Nothing else is checked."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """200 if the database answers and is migrated. An unavailable Redis is reported, but does not
    make the process unready."""
    try:
        with _limit_database_wait():
            if not _is_migrated():
                return JsonResponse({"status": "unready", "database": "not migrated"}, status=503)
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
    except DatabaseFailure:
        return JsonResponse({"status": "unready", "database": "unreachable"}, status=503)
    redis_state = _redis_state()
    return JsonResponse(
        {
            "status": "ok" if redis_state == "ok" else "degraded",
            "database": "ok",
            "redis": redis_state,
        }
    )


def statusz(request: HttpRequest) -> JsonResponse:
    """Database, Redis, workers of each queue, scheduler, background threads and overdue work. 503
    if anything is missing or late; `problems` names it."""
    redis_state = _redis_state()
    problems = [] if redis_state == "ok" else ["Redis is unreachable"]
    # This process's own as they are now; the others' as they last wrote.
    problems += threads.problems()
    seen: dict[str, Any] = {
        "database": "ok",
        "redis": redis_state,
        "threads": threads.names(),
    }
    try:
        with _limit_database_wait():
            more, found = status.read_status(now=clock.now())
        seen |= more
        problems += found
    except DatabaseFailure:
        seen["database"] = "unreachable"
        problems.append("the database is unreachable")
    answer = {"status": "failing" if problems else "ok", "problems": problems, **seen}
    return JsonResponse(answer, status=503 if problems else 200)


_gave_up_at = float("-inf")


@contextmanager
def _limit_database_wait() -> Iterator[None]:
    """Limit the wait for PostgreSQL to DATABASE_SECONDS in all.

    Pages may be requested while an earlier page still waits: for the same time after a wait that
    timed out, the next pages fail at once. Raises Django's database errors.
    """
    global _gave_up_at
    if time.monotonic() - _gave_up_at < DATABASE_SECONDS:
        raise OperationalError("PostgreSQL has just not answered.")
    try:
        with at_most(DATABASE_SECONDS):
            yield
    except OperationalError as error:
        if isinstance(error.__cause__, NoAnswer):
            _gave_up_at = time.monotonic()
        raise


_migrated = False


def _is_migrated() -> bool:
    """Once migrated, this release stays migrated: the plan is computed only until then."""
    global _migrated
    if not _migrated:
        executor = MigrationExecutor(connection)
        _migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return _migrated


def _redis_state() -> str:
    try:
        _client().ping()
    except redis.RedisError:
        return "unreachable"
    return "ok"


@cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, **settings.REDIS_CLIENT_OPTIONS)
