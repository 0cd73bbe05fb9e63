"""Django's migrate with a short wait for locks.

A change of a table waits for its readers, and all later statements wait behind the change. So the
change gives up early and is retried a little later. Finished migrations stay; a migration that is
not atomic must tolerate a second start.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management import CommandError
from django.core.management.commands import migrate
from django.db import OperationalError, connections
from psycopg.errors import LockNotAvailable

PAUSE_SECONDS = 2.0


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        if settings.DB_POOLED and not (options["check_unapplied"] or options["plan"]):
            # With a pooler, `_limits` below would set the limits of another session.
            raise CommandError(
                "Migrations need a session of their own: DATABASE_URL without the pooler, and"
                " DB_POOLED=false."
            )
        for left in reversed(range(settings.MIGRATE_LOCK_TRIES)):
            try:
                with _limits(options["database"]):
                    super().handle(*args, **options)
                return
            except OperationalError as error:
                if not (left and isinstance(error.__cause__, LockNotAvailable)):
                    raise
                self.stderr.write(f"A table is in use; {left} more tries.")
                time.sleep(PAUSE_SECONDS)


@contextmanager
def _limits(alias: str) -> Iterator[None]:
    """A short wait for locks, and no time limit for a statement that holds its locks."""
    limits = {"lock_timeout": settings.MIGRATE_LOCK_TIMEOUT_MS, "statement_timeout": 0}
    try:
        with connections[alias].cursor() as cursor:
            for name, value in limits.items():
                cursor.execute(f"SET {name} = {value}")
        yield
    finally:
        with connections[alias].cursor() as cursor:
            for name in limits:
                cursor.execute(f"RESET {name}")
