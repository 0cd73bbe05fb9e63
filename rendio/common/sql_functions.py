"""Functions of the database, one in each file `APP/sql/NAME.sql`.

In their bodies a bare name is a parameter or a variable; columns are qualified.

To change one, edit its file and add a migration that installs it again; a test compares the
database with the files. The release before calls the function too: a change that its calls do not
allow gets other parameters, which makes another function of the same name, and the old one is
dropped a release later.
"""

from __future__ import annotations

from pathlib import Path

from django.db.migrations import RunSQL

PROJECT = Path(__file__).resolve().parents[2]


def install(app: str, name: str) -> RunSQL:
    """The operation of a migration that creates or replaces a function, from its file as it is
    today."""
    return RunSQL(read(app, name), f"DROP FUNCTION {name}")


def read(app: str, name: str) -> str:
    """The statement that creates or replaces the function."""
    return (PROJECT / app / "sql" / f"{name}.sql").read_text()
