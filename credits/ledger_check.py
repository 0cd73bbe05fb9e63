"""Verify the ledger: replay every entry and compare the sums with balances, debts and lots."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db import connection, transaction

from credits.models import LedgerCheck


@dataclass(frozen=True)
class Discrepancy:
    """A number that does not follow from the ledger's entries."""

    wallet_id: UUID
    problem: str
    expected: int
    found: int


# Each check selects (wallet, number expected from the entries, number found) where the two differ.
_CHECKS = {
    "balance is not the sum of its entries": """
        SELECT w.id, COALESCE(sum(e.change), 0), w.balance
        FROM credits_wallet w LEFT JOIN credits_ledgerentry e ON e.wallet_id = w.id
        GROUP BY w.id HAVING COALESCE(sum(e.change), 0) <> w.balance""",
    "debt is not the sum of its entries": """
        SELECT w.id, COALESCE(sum(e.debt_change), 0), w.debt
        FROM credits_wallet w LEFT JOIN credits_ledgerentry e ON e.wallet_id = w.id
        GROUP BY w.id HAVING COALESCE(sum(e.debt_change), 0) <> w.debt""",
    "an entry is missing": """
        SELECT w.id, w.entry_count, count(e.id)
        FROM credits_wallet w LEFT JOIN credits_ledgerentry e ON e.wallet_id = w.id
        GROUP BY w.id
        HAVING count(e.id) <> w.entry_count OR COALESCE(max(e.number), 0) <> w.entry_count""",
    "balance after an entry is not the running sum": """
        SELECT wallet_id, running, balance_after FROM (
            SELECT wallet_id, balance_after,
                   sum(change) OVER (PARTITION BY wallet_id ORDER BY number) AS running
            FROM credits_ledgerentry) replay
        WHERE running <> balance_after""",
    "debt after an entry is not the running sum": """
        SELECT wallet_id, running, debt_after FROM (
            SELECT wallet_id, debt_after,
                   sum(debt_change) OVER (PARTITION BY wallet_id ORDER BY number) AS running
            FROM credits_ledgerentry) replay
        WHERE running <> debt_after""",
    # A merge moves it without the expired credits: summed over a wallet and those merged into it.
    "lifetime total is not what was granted": """
        WITH RECURSIVE part AS (
            SELECT id AS root_id, id, lifetime_total FROM credits_wallet
            WHERE merged_into_id IS NULL
            UNION ALL
            SELECT p.root_id, w.id, w.lifetime_total
            FROM credits_wallet w JOIN part p ON w.merged_into_id = p.id
        ), granted AS (
            SELECT wallet_id, sum(change - debt_change) AS total FROM credits_ledgerentry
            WHERE kind IN ('grant', 'adjustment') AND change - debt_change > 0
            GROUP BY wallet_id
        )
        SELECT p.root_id, COALESCE(sum(g.total), 0), sum(p.lifetime_total)
        FROM part p LEFT JOIN granted g ON g.wallet_id = p.id
        GROUP BY p.root_id HAVING COALESCE(sum(g.total), 0) <> sum(p.lifetime_total)""",
    "the lots do not hold the balance": """
        SELECT w.id, w.balance, COALESCE(sum(l.remaining), 0)
        FROM credits_wallet w LEFT JOIN credits_lot l ON l.wallet_id = w.id
        GROUP BY w.id HAVING COALESCE(sum(l.remaining), 0) <> w.balance""",
    "a lot does not hold what its entries say": """
        SELECT l.wallet_id, COALESCE(t.total, 0), l.remaining
        FROM credits_lot l LEFT JOIN (
            SELECT (touch->>0)::uuid AS lot_id, sum((touch->>1)::int) AS total
            FROM credits_ledgerentry, jsonb_array_elements(lots) AS touch GROUP BY 1
        ) t ON t.lot_id = l.id
        WHERE COALESCE(t.total, 0) <> l.remaining""",
    "a lot's expired credits are not what its entries say": """
        SELECT l.wallet_id, COALESCE(t.total, 0), l.lapsed
        FROM credits_lot l LEFT JOIN (
            SELECT (touch->>0)::uuid AS lot_id, -sum((touch->>1)::int) AS total
            FROM credits_ledgerentry, jsonb_array_elements(lots) AS touch
            WHERE kind = 'expiry' GROUP BY 1
        ) t ON t.lot_id = l.id
        WHERE COALESCE(t.total, 0) <> l.lapsed""",
    "a lot's store refunds are not what its entries say": """
        SELECT l.wallet_id, COALESCE(-sum(e.change - e.debt_change), 0), l.taken_back + l.owed
        FROM credits_lot l LEFT JOIN credits_ledgerentry e
            ON e.transaction_id = l.transaction_id AND e.kind IN ('revocation', 'reversal')
        GROUP BY l.id
        HAVING COALESCE(-sum(e.change - e.debt_change), 0) <> l.taken_back + l.owed""",
    "an entry's lots do not add up to its change": """
        SELECT wallet_id, change, (
            SELECT COALESCE(sum((touch->>1)::int), 0) FROM jsonb_array_elements(lots) AS touch)
        FROM credits_ledgerentry
        WHERE change <> (
            SELECT COALESCE(sum((touch->>1)::int), 0) FROM jsonb_array_elements(lots) AS touch)""",
}


@dataclass(frozen=True)
class LedgerReport:
    discrepancies: list[Discrepancy]
    wallets: int
    entries: int


def verify_ledger() -> LedgerReport:
    """Replay the whole ledger in one snapshot: concurrent changes cause no discrepancy. Opens its
    own transaction, without a statement timeout.
    """
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute("SET LOCAL statement_timeout = 0")
        return LedgerReport(find_discrepancies(), *count_wallets_and_entries())


def get_last_check() -> LedgerCheck:
    return LedgerCheck.objects.get()


def find_discrepancies(*, most: int = 100) -> list[Discrepancy]:
    """Replay the whole ledger. An empty list proves that every number follows from its entries."""
    found: list[Discrepancy] = []
    with connection.cursor() as cursor:
        for what, sql in _CHECKS.items():
            cursor.execute(f"{sql} LIMIT %s", [most])
            found += [Discrepancy(row[0], what, row[1], row[2]) for row in cursor.fetchall()]
    return found[:most]


def count_wallets_and_entries() -> tuple[int, int]:
    """Return (number of wallets, number of entries)."""
    with connection.cursor() as cursor:
        cursor.execute("""
            SELECT (SELECT count(*) FROM credits_wallet),
                   (SELECT count(*) FROM credits_ledgerentry)""")
        wallets, entries = cursor.fetchone()
    return wallets, entries
