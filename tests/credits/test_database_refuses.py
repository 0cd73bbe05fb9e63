"""Constraints and triggers: raw SQL that our code would never send is rejected by the database."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction

from tests.helpers.wallet import TestWallet

COPY_OF_ENTRY = """
    INSERT INTO credits_ledgerentry
        (id, wallet_id, number, kind, change, balance_after, debt_change, debt_after, lots, reason,
         job_id, transaction_id, created_at)
    SELECT gen_random_uuid(), %(wallet)s, number + 100, %(kind)s, change, balance_after,
           debt_change, debt_after, lots, reason, job_id, transaction_id, created_at
    FROM credits_ledgerentry WHERE id = %(entry)s
"""


def sql(statement, parameters=None):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.rowcount


@pytest.fixture
def wallet(db):
    """30 credits of which 4 were bought, 8 spent and returned: an entry of each kind to copy."""
    wallet = TestWallet(credits=26)
    wallet.bought = wallet.buy(4)
    wallet.refund(wallet.charge(8))
    wallet.claw_back(wallet.bought)
    return wallet


def entry_of(wallet, kind):
    return next(entry for entry in wallet.entries if entry.kind == kind)


def test_a_balance_below_zero_is_refused(wallet):
    statement = "UPDATE credits_wallet SET balance = %s WHERE id = %s"

    with pytest.raises(IntegrityError, match="wallet_balance_not_negative"):
        sql(statement, [-1, wallet.wallet_id])

    assert sql(statement, [0, wallet.wallet_id]) == 1


def test_a_debt_below_zero_is_refused(wallet):
    with pytest.raises(IntegrityError, match="wallet_debt_not_negative"):
        sql("UPDATE credits_wallet SET debt = -1 WHERE id = %s", [wallet.wallet_id])


@pytest.mark.parametrize("remaining", [-1, 27])
def test_a_lot_holds_between_zero_and_its_amount(wallet, remaining):
    statement = "UPDATE credits_lot SET remaining = %s WHERE wallet_id = %s AND amount = 26"

    with pytest.raises(IntegrityError, match="lot_holds_what_it_brought"):
        sql(statement, [remaining, wallet.wallet_id])

    assert sql(statement, [26, wallet.wallet_id]) == 1


@pytest.mark.parametrize("column", ["remaining", "taken_back", "lapsed"])
def test_a_lot_never_holds_more_than_its_amount(wallet, column):
    statement = f"UPDATE credits_lot SET {column} = {column} + %s WHERE transaction_id = %s"  # noqa: S608

    with pytest.raises(IntegrityError, match="lot_holds_what_it_brought"):
        sql(statement, [1, wallet.bought])

    assert sql(statement, [0, wallet.bought]) == 1


@pytest.mark.parametrize(
    ("kind", "constraint"),
    [
        ("charge", "entry_one_charge_per_job"),
        ("refund", "entry_one_refund_per_job"),
        ("grant", "entry_one_grant_per_transaction"),
    ],
)
def test_a_second_entry_of_its_kind_is_refused_in_any_wallet(wallet, kind, constraint):
    original = next(e for e in wallet.entries if e.kind == kind and (e.job_id or e.transaction_id))
    stranger = TestWallet()

    for wallet_id in (wallet.wallet_id, stranger.wallet_id):
        with pytest.raises(IntegrityError, match=constraint):
            sql(COPY_OF_ENTRY, {"wallet": wallet_id, "kind": kind, "entry": original.id})


def test_two_entries_with_one_number_are_refused(wallet):
    with pytest.raises(IntegrityError, match="entry_number"):
        sql(
            COPY_OF_ENTRY.replace("number + 100", "number"),
            {"wallet": wallet.wallet_id, "kind": "adjustment", "entry": wallet.entries[0].id},
        )


def test_an_entry_that_changes_nothing_is_refused(wallet):
    with pytest.raises(IntegrityError, match="entry_changes_something"):
        sql(
            COPY_OF_ENTRY.replace("%(kind)s, change,", "%(kind)s, 0,"),
            {"wallet": wallet.wallet_id, "kind": "adjustment", "entry": wallet.entries[0].id},
        )


@pytest.mark.parametrize("kind", ["charge", "refund"])
def test_a_charge_or_refund_without_a_job_is_refused(wallet, kind):
    with pytest.raises(IntegrityError, match=f"entry_{kind}_"):
        sql(
            COPY_OF_ENTRY.replace("reason, job_id, transaction_id, created_at\n    FROM",
                                  "reason, NULL, transaction_id, created_at\n    FROM"),
            {"wallet": wallet.wallet_id, "kind": kind, "entry": entry_of(wallet, kind).id},
        )  # fmt: skip


def test_a_charge_that_adds_credits_is_refused(wallet):
    with pytest.raises(IntegrityError, match="entry_charge_takes_for_a_job"):
        sql(
            COPY_OF_ENTRY.replace("%(kind)s, change,", "%(kind)s, -change,"),
            {"wallet": wallet.wallet_id, "kind": "charge", "entry": entry_of(wallet, "charge").id},
        )


def test_a_purchased_lot_cannot_expire_and_a_promotion_can(wallet):
    wallet.promote(5, days=1)
    statement = """UPDATE credits_lot SET expires_at = now() + interval '1 day'
                   WHERE wallet_id = %s AND source = %s"""

    with pytest.raises(IntegrityError, match="lot_purchased_never_expires"):
        sql(statement, [wallet.wallet_id, "purchase"])

    assert sql(statement, [wallet.wallet_id, "promotion"]) == 1


def test_a_second_welcome_lot_is_refused(wallet):
    with pytest.raises(IntegrityError, match="lot_one_welcome"):
        sql(
            """INSERT INTO credits_lot (id, wallet_id, source, amount, remaining, created_at)
               VALUES (%s, %s, 'welcome', 1, 1, now())""",
            [uuid4(), wallet.wallet_id],
        )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE credits_ledgerentry SET change = change",
        "UPDATE credits_ledgerentry SET reason = 'no reason'",
        "DELETE FROM credits_ledgerentry",
        "SET CONSTRAINTS ALL IMMEDIATE; TRUNCATE credits_ledgerentry CASCADE",
    ],
)
def test_entries_are_never_changed_or_deleted(wallet, statement):
    with pytest.raises(IntegrityError, match="never changed or deleted"):
        sql(statement)

    assert len(wallet.entries) == 5


def test_a_wallet_with_entries_is_not_deleted(wallet):
    with pytest.raises(IntegrityError):
        sql(
            "SET CONSTRAINTS ALL IMMEDIATE; DELETE FROM credits_wallet WHERE id = %s",
            [wallet.wallet_id],
        )


def test_a_failed_or_cancelled_job_without_its_refund_is_refused(phone):
    job_id = phone.generate().json()["job_id"]
    statement = "UPDATE generation_job SET status = %s WHERE id = %s"

    for status in ("failed", "cancelled"):
        with pytest.raises(IntegrityError, match="job_ended_without_video_is_refunded"):
            sql(statement, [status, job_id])

    assert sql(statement, ["processing", job_id]) == 1
