"""`manage.py limit_role`: set PostgreSQL's limits for the role of DATABASE_URL.

Each session of the role in this database starts with them, sessions of a pooler included. A role
may set its own limits, without further rights. Run it with the processes' DATABASE_URL, through the
pooler or not, and again after a change of DB_STATEMENT_TIMEOUT_MS, DB_LOCK_TIMEOUT_MS or
DB_IDLE_TIMEOUT_MS.
"""

from __future__ import annotations

from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from psycopg import sql

from rendio.config import database_url


class Command(BaseCommand):
    help = (
        "Set PostgreSQL's limits for the role of DATABASE_URL, as a pooler needs them (DB_POOLED)."
    )
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        name = str(connection.settings_dict["NAME"])
        address = settings.DATABASE_ADDRESS | {"dbname": name}
        try:
            self._set_limits(address, name)
        except psycopg.Error as error:
            raise CommandError(str(error)) from None
        self.stdout.write("Open sessions keep their old limits: let the pooler RECONNECT.")

    def _set_limits(self, address: dict[str, str], name: str) -> None:
        # Django's own connection would be refused, because the limits are not set yet.
        with psycopg.connect(database_url.url(address)) as server:
            for limit, ms in settings.DB_LIMITS_MS.items():
                server.execute(
                    sql.SQL("ALTER ROLE CURRENT_USER IN DATABASE {} SET {} = {}").format(
                        sql.Identifier(name), sql.Identifier(limit), sql.Literal(ms)
                    )
                )
                self.stdout.write(f"{limit}: {ms} ms")
