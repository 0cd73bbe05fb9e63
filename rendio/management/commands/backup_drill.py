"""A backup is one that has been restored: dump, restore it beside, prove the ledger there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from psycopg import sql


class Command(BaseCommand):
    help = (
        "Restore a backup into a database of its own and prove the ledger there; exit 1 where that"
        " fails. Needs pg_dump and pg_restore of the server's version, and the right to create a"
        " database. The database that is in use is only read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dump", type=Path, help="Prove this one, instead of a fresh dump.")
        parser.add_argument("--keep", type=Path, help="Where the fresh dump stays.")
        parser.add_argument("--bin", type=Path, help="Where pg_dump is, if not on the PATH.")

    def handle(self, *args: Any, **options: Any) -> None:
        self._bin: Path | None = options["bin"]
        scratch = f"rendio_drill_{os.getpid()}"
        with TemporaryDirectory(prefix="rendio-drill-") as folder:
            dump = options["dump"] or options["keep"] or Path(folder) / "rendio.dump"
            if not options["dump"]:
                self._run("pg_dump", "--format=custom", f"--file={dump}", _name())
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
        self._finish(command, os.environ | _access())

    def _manage(self, database: str, *arguments: str) -> None:
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments]
        self._finish(command, os.environ | {"DATABASE_URL": _url(database)})

    def _finish(self, command: list[str], env: dict[str, str]) -> None:
        """Raises CommandError with what the program said."""
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


def _name() -> str:
    return str(connection.settings_dict["NAME"])


def _access() -> dict[str, str]:
    """By the environment: a command line is public."""
    found = connection.settings_dict
    return {
        "PGHOST": found["HOST"],
        "PGPORT": str(found["PORT"] or 5432),
        "PGUSER": found["USER"],
        "PGPASSWORD": found["PASSWORD"],
    }


def _url(database: str) -> str:
    user, password, host, port = (
        quote(_access()[name], safe="") for name in ("PGUSER", "PGPASSWORD", "PGHOST", "PGPORT")
    )
    return f"postgresql://{user}:{password}@{host}:{port}/{database}"


@contextmanager
def _database(name: str) -> Iterator[None]:
    """An empty database, gone at the end."""
    with psycopg.connect(_url(_name()), autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
