"""The backup and restore drill: a backup counts once its ledger has been proved."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from rendio.local.servers import postgres_binary
from tests.helpers.budget import large
from tests.helpers.phone import Phone

pytestmark = pytest.mark.usefixtures("committed")
BIN = Path(postgres_binary("pg_dump")).parent


def drill(**options) -> str:
    said = StringIO()
    call_command("backup_drill", bin=BIN, stdout=said, **options)
    return said.getvalue()


def databases() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database")
        return {name for (name,) in cursor.fetchall()}


@large
def test_a_backup_is_restored_and_its_ledger_proved(sandbox, tmp_path):
    Phone().sign_in()
    before = databases()

    said = drill(keep=tmp_path / "kept.dump")

    assert "The ledger adds up" in said
    assert said.endswith("The backup can be restored, and its ledger adds up.\n")
    assert databases() == before

    # What was kept can be proved again; what is cut off cannot.
    kept = (tmp_path / "kept.dump").read_bytes()
    (tmp_path / "cut.dump").write_bytes(kept[: len(kept) // 2])
    with pytest.raises(CommandError, match="pg_restore"):
        drill(dump=tmp_path / "cut.dump")
    assert databases() == before


def test_a_missing_tool_is_named(tmp_path):
    with pytest.raises(CommandError, match=r"pg_dump.*--bin"):
        call_command("backup_drill", bin=tmp_path)


def test_a_role_that_may_make_no_database_is_told_so(settings, tmp_path):
    role = f"drill_{uuid4().hex[:8]}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'of tests'")
    settings.DATABASE_ADDRESS = settings.DATABASE_ADDRESS | {"user": role, "password": "of tests"}
    (tmp_path / "some.dump").touch()

    with pytest.raises(CommandError, match="permission denied to create database"):
        drill(dump=tmp_path / "some.dump")
