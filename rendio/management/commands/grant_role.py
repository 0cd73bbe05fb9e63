"""`manage.py grant_role NAME`: grant the role of Rendio's processes the privileges that it needs,
and no others.

The role reads and writes rows. It creates, changes and drops nothing, truncates no table, and only
reads and appends where the database keeps a table append-only (the ledger, the audit log): their
triggers bind everybody, and this role cannot drop them. Run it as the owner of the tables, who also
migrates, after each `migrate`; it may be repeated.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction
from psycopg import sql

ROWS = "SELECT, INSERT, UPDATE, DELETE"
APPEND = "SELECT, INSERT"
LOOK = "SELECT"
MIGRATIONS = "django_migrations"
# Their triggers call functions of this name, by which an append-only table is known.
APPEND_ONLY = """
    SELECT DISTINCT tgrelid::regclass::text
    FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
    WHERE proname LIKE '%\\_is\\_append\\_only'
"""


class Command(BaseCommand):
    help = "Grant a database role the privileges of Rendio's processes, and revoke all others."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="of an existing role: CREATE ROLE … LOGIN PASSWORD …")

    @transaction.atomic
    def handle(self, *args: Any, name: str, **options: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name])
            if cursor.fetchone() is None:
                raise CommandError(f"There is no role {name}.")
            cursor.execute(APPEND_ONLY)
            rights = {table: APPEND for (table,) in cursor.fetchall()} | {MIGRATIONS: LOOK}
            tables = connection.introspection.table_names(cursor)
            for statement in _STATEMENTS:
                cursor.execute(_filled(statement, name))
            for table in tables:
                right = rights.get(table, ROWS)
                cursor.execute(_filled(f"GRANT {right} ON {{table}} TO {{role}}", name, table))
        self.stdout.write(f"{name} may use {len(tables)} tables; it only adds to what is kept so")


_STATEMENTS = [
    "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}",
    "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    "REVOKE ALL ON SCHEMA public FROM {role}",
    "GRANT USAGE ON SCHEMA public TO {role}",
    "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}",
]


def _filled(statement: str, role: str, table: str = "") -> sql.Composed:
    return sql.SQL(statement).format(role=sql.Identifier(role), table=sql.Identifier(table))
