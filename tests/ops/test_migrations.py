"""manage.py migrate waits for no lock for long: others would wait behind it."""

from __future__ import annotations

import threading

import pytest
from django.core.management import call_command
from django.core.management.commands import migrate as django_migrate
from django.db import OperationalError, connection, transaction

from rendio.management.commands import migrate

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def changes(monkeypatch):
    """How often the migration below was begun. It stands for one that changes a table in use."""
    begun = []

    def change(*_, **__):
        begun.append(1)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE adminops_heartbeat IN ACCESS EXCLUSIVE MODE")

    monkeypatch.setattr(django_migrate.Command, "handle", change)
    monkeypatch.setattr(migrate, "PAUSE_SECONDS", 0)
    return begun


@pytest.fixture
def in_use():
    """Somebody reads the table until told to stop."""
    reads, enough = threading.Event(), threading.Event()

    def read():
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM adminops_heartbeat")
            reads.set()
            enough.wait(60)
        connection.close()

    reader = threading.Thread(target=read)
    reader.start()
    assert reads.wait(60)
    yield enough.set
    enough.set()
    reader.join(60)


def test_a_table_in_use_is_left_alone_and_asked_for_again(changes, in_use, settings, capsys):
    settings.MIGRATE_LOCK_TIMEOUT_MS = 20
    settings.MIGRATE_LOCK_TRIES = 2
    with pytest.raises(OperationalError, match="lock timeout"):
        call_command("migrate")
    assert len(changes) == 2

    in_use()
    settings.MIGRATE_LOCK_TIMEOUT_MS = 60_000
    call_command("migrate")

    assert len(changes) == 3
    assert "A table is in use; 1 more tries." in capsys.readouterr().err


def test_afterwards_the_connection_has_its_own_limits_again(changes):
    call_command("migrate")

    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("5s",)
