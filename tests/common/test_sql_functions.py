"""The functions of the database are those of the files `APP/sql/NAME.sql`."""

from __future__ import annotations

import pytest
from django.db import connection

from rendio.common import sql_functions

FILES = sorted(sql_functions.PROJECT.glob("*/sql/*.sql"))

DEFINITIONS = """
SELECT array_agg(pg_get_functiondef(oid) ORDER BY oid) FROM pg_proc WHERE proname = %s
"""


def definitions(name: str) -> list[str] | None:
    with connection.cursor() as cursor:
        cursor.execute(DEFINITIONS, [name])
        return cursor.fetchone()[0]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_migrations_install_each_function_as_its_file_states_it(file, db):
    installed = definitions(file.stem)

    with connection.cursor() as cursor:
        cursor.execute(sql_functions.read(file.parents[1].name, file.stem))

    assert installed is not None
    assert definitions(file.stem) == installed


def test_each_function_has_the_name_of_its_file_and_app(db):
    assert FILES
    for file in FILES:
        assert file.stem.startswith(f"{file.parents[1].name}_")
        assert f"CREATE OR REPLACE FUNCTION {file.stem}(" in file.read_text()
