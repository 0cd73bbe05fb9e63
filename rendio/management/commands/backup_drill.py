"""`manage.py backup_drill`: dump the database, restore the dump beside it, check the ledger
there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from psycopg import sql

from rendio.config import database_url


class Command(BaseCommand):
    help = (
        "Restore a backup into a separate database and check the ledger there; exit 1 on failure."
        " Needs pg_dump and pg_restore of the server's version, and the right to create a database."
        " The database of DATABASE_URL is only read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dump", type=Path, help="Check this backup instead of a fresh dump.")
        parser.add_argument("--keep", type=Path, help="Folder that keeps the fresh dump.")
        parser.add_argument("--bin", type=Path, help="Folder of pg_dump, if it is not on the PATH.")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.DB_POOLED:
            raise CommandError(
                "pg_dump needs a session of its own: DATABASE_URL without the pooler, and"
                " DB_POOLED=false."
            )
        self._bin: Path | None = options["bin"]
        scratch = f"rendio_drill_{os.getpid()}"
        with TemporaryDirectory(prefix="rendio-drill-") as folder:
            dump = options["dump"] or options["keep"] or Path(folder) / "rendio.dump"
            if not options["dump"]:
                self._run("pg_dump", "--format=custom", f"--file={dump}")
            self.stdout.write(f"{dump}: {dump.stat().st_size:,} bytes")
            with _database(scratch):
                # Owners and grants are the server's, not the backup's.
                self._run(
                    *["pg_restore", "--exit-on-error", "--no-owner", "--no-privileges"],
                    *[f"--dbname={scratch}", str(dump)],
                )
                self._manage(scratch, "migrate", "--check")
                self._manage(scratch, "prove_ledger")
        self.stdout.write("The backup can be restored, and its ledger adds up.")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program) if self._bin else program, *arguments]
        with TemporaryDirectory(prefix="rendio-drill-") as folder:
            self._finish(command, os.environ | _access(Path(folder)))

    def _manage(self, database: str, *arguments: str) -> None:
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments]
        url = database_url.url(_address(database))
        self._finish(command, os.environ | {"DATABASE_URL": url})

    def _finish(self, command: list[str], env: dict[str, str]) -> None:
        """Raises CommandError with the program's output."""
        what = " ".join(Path(part).name for part in command[:3])
        try:
            done = subprocess.run(  # noqa: S603
                command, env=env, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise CommandError(f"{what}: {error.strerror}. Name its folder with --bin.") from None
        if done.returncode:
            raise CommandError(f"{what} failed:\n{done.stdout}{done.stderr}")
        self.stdout.write(done.stdout, ending="")


def _address(database: str | None = None) -> dict[str, str]:
    """All parameters of DATABASE_URL, for `database` or the current one."""
    return settings.DATABASE_ADDRESS | {"dbname": database or str(connection.settings_dict["NAME"])}


def _access(folder: Path) -> dict[str, str]:
    """DATABASE_URL for PostgreSQL's programs: a command line is public, and not every parameter has
    a variable. The password has one, and a service file would trim its blanks."""
    address = _address()
    password = address.pop("password", None)
    services = folder / "services"
    services.touch(mode=0o600)
    lines = ["[rendio]", *(f"{name}={value}" for name, value in address.items())]
    services.write_text("\n".join(lines) + "\n")
    secret = {} if password is None else {"PGPASSWORD": password}
    return {"PGSERVICEFILE": str(services), "PGSERVICE": "rendio", **secret}


@contextmanager
def _database(name: str) -> Iterator[None]:
    """An empty database, dropped at the end. Raises CommandError."""
    try:
        server = psycopg.connect(database_url.url(_address()), autocommit=True)
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise CommandError(f"No database can be created for the restore: {error}") from None
    with server:
        try:
            yield
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
