"""Rendio works under a role that cannot touch what is written, nor the tables themselves."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from adminops.actions import credits, users
from adminops.models import AuditLogEntry
from credits.ledger_check import find_discrepancies
from generation.models import FileDeletion, Job
from tests.adminops.conftest import staff_user
from tests.generation.conftest import life
from tests.helpers.job_driver import assert_completed, assert_refunded, create_job
from tests.helpers.phone import Phone
from tests.helpers.staff import staff_action

__all__ = ["life"]  # a fixture


@pytest.fixture
def least(db):
    """This connection, until the test is rolled back, under a role that has been given its
    rights."""
    name = f"rendio_app_{uuid4().hex[:8]}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {name}")
        call_command("grant_role", name)
        cursor.execute(f"SET LOCAL ROLE {name}")


def test_database_role_suffices_for_all_customer_calls(least, sandbox, life):
    sandbox.provider(queue_seconds=0, run_seconds=0, webhooks=False)
    phone = Phone().sign_in()
    quoted = phone.post("quote-video", {"prompt": "A red balloon"}).json()
    assert quoted["affordable"]
    assert_completed(life.run_until_done(create_job(phone)))
    sandbox.provider(outcome="error")
    assert_refunded(life.run_until_done(create_job(phone)), code="ERR_5002")
    assert phone.get("get-credit-history").status_code == 200
    refreshed = phone.post("auth/refresh", {"refresh_token": phone.session["refresh_token"]})
    assert refreshed.status_code == 200
    assert phone.get("export-user-data").status_code == 200
    assert phone.post("delete-account").status_code == 200
    assert find_discrepancies() == []


def test_database_role_suffices_for_staff_actions(least, sandbox):
    phone = Phone().sign_in()
    staff = staff_user("sam", is_superuser=True)

    credits.refund_credits(staff_action(staff), user_id=phone.user_id, amount=5)
    users.ban_user(staff_action(staff), user_id=phone.user_id)

    assert AuditLogEntry.objects.count() == 2


REFUSED = {
    "change an entry": "UPDATE credits_ledgerentry SET change = 1000",
    "delete an entry": "DELETE FROM credits_ledgerentry",
    "empty the ledger": "TRUNCATE credits_ledgerentry CASCADE",
    "drop the ledger": "DROP TABLE credits_ledgerentry CASCADE",
    "silence its triggers": "ALTER TABLE credits_ledgerentry DISABLE TRIGGER ALL",
    "drop a trigger": "DROP TRIGGER ledger_entry_never_changes ON credits_ledgerentry",
    "replay without triggers": "SET session_replication_role = replica",
    "replace what a trigger does": (
        "CREATE OR REPLACE FUNCTION credits_ledger_is_append_only() RETURNS trigger"
        " LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
    ),
    "change the record": "UPDATE adminops_adminaction SET reason = ''",
    "delete from the record": "DELETE FROM adminops_adminaction",
    "lift a constraint": "ALTER TABLE credits_wallet DROP CONSTRAINT credits_wallet_pkey CASCADE",
    "empty another table": "TRUNCATE accounts_user CASCADE",
    "make a table": "CREATE TABLE mine (id int)",
    "forget a migration": "DELETE FROM django_migrations",
    "make a role": "CREATE ROLE mine SUPERUSER",
    "read a file": "COPY (SELECT 1) TO PROGRAM 'id'",
}


@pytest.mark.parametrize("statement", REFUSED.values(), ids=REFUSED)
def test_database_role_cannot_run_forbidden_statements(least, statement):
    with (
        pytest.raises(DatabaseError, match=r"permission denied|must be owner"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


def test_database_role_may_change_temporary_rows(least):
    assert FileDeletion.objects.all().delete()[0] == 0
    assert Job.objects.filter(id=uuid4()).update(progress=1) == 0


def test_unknown_role_is_named_in_the_error(db):
    with pytest.raises(CommandError, match="no_such_role"):
        call_command("grant_role", "no_such_role")
