"""The ledger check finds every kind of damage."""

from __future__ import annotations

import os
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone

from credits import ledger_check
from credits import services as credit_services
from credits.models import LedgerCheck
from tests.helpers import fork_server
from tests.helpers.database import url_of_database
from tests.helpers.wallet import TestWallet


@pytest.fixture
def wallet(db):
    """A wallet with every kind of entry, that owes nothing and adds up."""
    wallet = TestWallet(credits=20)
    wallet.promote(5, days=2)
    bought = wallet.buy(10)
    job_id = wallet.charge(12)
    wallet.refund(job_id)
    wallet.charge(3)
    wallet.adjust(4)
    wallet.adjust(-2)
    wallet.claw_back(bought, share=60_000)
    assert wallet.is_balanced()
    return wallet


def damage(statement, wallet):
    """Change what no code of ours may, past the triggers."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statement, {"wallet": wallet.wallet_id})
        assert cursor.rowcount == 1
        cursor.execute("SET LOCAL session_replication_role = origin")


DAMAGES = {
    "balance": "UPDATE credits_wallet SET balance = balance + 1 WHERE id = %(wallet)s",
    "debt": "UPDATE credits_wallet SET debt = 1 WHERE id = %(wallet)s",
    "lifetime total": """UPDATE credits_wallet SET lifetime_total = lifetime_total + 1
                         WHERE id = %(wallet)s""",
    "entry count": "UPDATE credits_wallet SET entry_count = 99 WHERE id = %(wallet)s",
    "last entry deleted": """DELETE FROM credits_ledgerentry
                 WHERE wallet_id = %(wallet)s AND number = 9""",
    "middle entry deleted": """DELETE FROM credits_ledgerentry
                 WHERE wallet_id = %(wallet)s AND number = 5""",
    "change rewritten": """UPDATE credits_ledgerentry SET change = -1
                 WHERE wallet_id = %(wallet)s AND number = 4""",
    "balance after rewritten": """UPDATE credits_ledgerentry SET balance_after = 0
                 WHERE wallet_id = %(wallet)s AND number = 2""",
    "debt after rewritten": """UPDATE credits_ledgerentry SET debt_after = 7
                 WHERE wallet_id = %(wallet)s AND number = 2""",
    "debt change rewritten": """UPDATE credits_ledgerentry SET debt_change = 7
                 WHERE wallet_id = %(wallet)s AND number = 2""",
    "entry renumbered": """UPDATE credits_ledgerentry SET number = 10
                 WHERE wallet_id = %(wallet)s AND number = 9""",
    "entry's lots rewritten": """UPDATE credits_ledgerentry SET lots = '[]'
                 WHERE wallet_id = %(wallet)s AND number = 4""",
    "lapse invented": """UPDATE credits_lot SET lapsed = 1
                 WHERE wallet_id = %(wallet)s AND source = 'promotion'""",
    "store refund forgotten": """UPDATE credits_lot SET taken_back = 0
                 WHERE wallet_id = %(wallet)s AND source = 'purchase'""",
    "lot emptied": """UPDATE credits_lot SET remaining = 0
                      WHERE wallet_id = %(wallet)s AND source = 'welcome'""",
    "lot deleted": "DELETE FROM credits_lot WHERE wallet_id = %(wallet)s AND source = 'welcome'",
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_the_ledger_check_names_only_the_damaged_wallet(wallet, kind):
    sound = TestWallet(credits=10)
    assert ledger_check.find_discrepancies() == []

    damage(DAMAGES[kind], wallet)

    found = ledger_check.find_discrepancies()
    assert {discrepancy.wallet_id for discrepancy in found} == {wallet.wallet_id}
    assert sound.is_balanced()


def test_credits_moved_between_two_lots_are_reported(wallet):
    with connection.cursor() as cursor:
        cursor.execute(
            """UPDATE credits_lot SET remaining = remaining + CASE source WHEN 'welcome' THEN -1
                 ELSE 1 END WHERE wallet_id = %s AND source IN ('welcome', 'promotion')""",
            [wallet.wallet_id],
        )

    assert {d.problem for d in ledger_check.find_discrepancies()} == {
        "a lot does not hold what its entries say"
    }


def test_a_lot_moved_to_another_wallet_is_reported_for_both(wallet):
    thief = TestWallet(credits=10)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE credits_lot SET wallet_id = %s WHERE wallet_id = %s AND source = 'support'",
            [thief.wallet_id, wallet.wallet_id],
        )

    assert {d.wallet_id for d in ledger_check.find_discrepancies()} == {
        wallet.wallet_id,
        thief.wallet_id,
    }


def test_the_command_reports_an_unavailable_database():
    ended = prove_ledger("postgresql://nobody@127.0.0.1:1/none")

    assert ended.returncode == 1
    assert ended.stderr.startswith("OperationalError: connection failed")
    assert "Traceback" not in ended.stderr


def prove_ledger(url=None):
    """The command as an operator runs it, on this run's database."""
    environment = os.environ | {"DATABASE_URL": url or url_of_database()}
    return fork_server.manage("prove_ledger", environment=environment)


def test_the_command_fails_and_names_an_unbalanced_wallet(committed):
    with transaction.atomic():
        wallet = TestWallet(credits=10)

    with connection.cursor() as cursor:
        cursor.execute("UPDATE credits_wallet SET balance = 11 WHERE id = %s", [wallet.wallet_id])
    try:
        damaged = prove_ledger()
    finally:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE credits_wallet SET balance = 10 WHERE id = %s", [wallet.wallet_id]
            )
    mended = prove_ledger()

    assert damaged.returncode != 0
    assert str(wallet.wallet_id) in damaged.stderr
    assert "expected 10, found 11" in damaged.stderr
    assert mended.returncode == 0, mended.stderr
    assert "adds up" in mended.stdout


@pytest.mark.usefixtures("committed")
def test_the_ledger_check_runs_when_due_and_stores_its_result():
    now = timezone.now()
    LedgerCheck.objects.update(due_at=now, discrepancies=7, checked_at=None, balanced_at=None)

    assert credit_services.verify_ledger_if_due(now=now)
    assert not credit_services.verify_ledger_if_due(now=now)

    check = LedgerCheck.objects.get()
    assert (check.discrepancies, check.checked_at) == (0, check.balanced_at)
    assert check.due_at > now


@pytest.mark.usefixtures("committed")
def test_an_unbalanced_ledger_is_stored_and_logged(monkeypatch, caplog):
    """What a difference is, the tests above say."""
    found = [ledger_check.Discrepancy(uuid4(), "balance is not the sum of its entries", 3, 4)]
    monkeypatch.setattr(ledger_check, "find_discrepancies", lambda: found)
    LedgerCheck.objects.update(due_at=timezone.now(), balanced_at=None)

    credit_services.verify_ledger_if_due(now=timezone.now())

    check = LedgerCheck.objects.get()
    LedgerCheck.objects.update(discrepancies=0)
    assert (check.discrepancies, check.balanced_at) == (1, None)
    assert "ledger_differs" in caplog.text
