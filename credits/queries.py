"""Reads of the ledger: a user's history, and the proof that it adds up."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Case, F, Q, QuerySet, Subquery, Sum, TextChoices, Value, When

from credits.models import (
    PAID_SOURCES,
    SANDBOX_PREFIX,
    Kind,
    LedgerEntry,
    LedgerProof,
    Lot,
    PromotionCode,
    Redemption,
    Wallet,
)
from rendio.common.db import prepared_cursor
from rendio.common.errors import NotFound
from rendio.common.times import iso


@dataclass(frozen=True)
class Expiring:
    """How many credits lapse at that time, if they are not spent."""

    credits: int
    expires_at: datetime


@dataclass(frozen=True)
class Held:
    """What a user has; `expiring` is the soonest first, MAX_EXPIRING times at most."""

    balance: int
    lifetime_total: int
    expiring: list[Expiring]


MAX_EXPIRING = 20

# One trip, as for the balance alone: the lots come by the index of those that can be spent.
_HELD = """
SELECT wallet.balance, wallet.lifetime_total, soonest.credits, soonest.expires_at
FROM credits_wallet wallet
LEFT JOIN LATERAL (
    SELECT sum(remaining) AS credits, expires_at FROM credits_lot
    WHERE wallet_id = wallet.id AND remaining > 0 AND expires_at IS NOT NULL
    GROUP BY expires_at ORDER BY expires_at LIMIT %s
) soonest ON TRUE
WHERE wallet.user_id = %s
ORDER BY soonest.expires_at
"""


def held_by(user_id: UUID) -> Held:
    """The user's credits, and when they lapse. Raises NotFound where there is no wallet."""
    with prepared_cursor() as cursor:
        cursor.execute(_HELD, [MAX_EXPIRING, user_id])
        rows = cursor.fetchall()
    if not rows:
        raise NotFound
    expiring = [Expiring(credits, expires_at) for _, _, credits, expires_at in rows if credits]
    return Held(rows[0][0], rows[0][1], expiring)


def history(
    *, user_id: UUID, limit: int, offset: int = 0, after: UUID | None = None
) -> list[LedgerEntry]:
    """A user's entries, newest first; `after` is the id of the last entry already seen."""
    return _history(LedgerEntry.objects.all(), user_id, limit=limit, offset=offset, after=after)


def own_history(
    *, user_id: UUID, limit: int, offset: int = 0, after: UUID | None = None
) -> list[tuple[LedgerEntry, str]]:
    """The same for the user themselves: each entry with its reason, which names the promotion code
    that they redeemed. Staff may read a reason without being allowed to know codes."""
    entries = LedgerEntry.objects.select_related("redemption__code")
    found = _history(entries, user_id, limit=limit, offset=offset, after=after)
    return [(entry, _own_reason(entry)) for entry in found]


def _own_reason(entry: LedgerEntry) -> str:
    redemption: Redemption | None = getattr(entry, "redemption", None)
    return f"code {redemption.code.code}" if redemption else entry.reason


def _history(
    entries: QuerySet[LedgerEntry], user_id: UUID, *, limit: int, offset: int, after: UUID | None
) -> list[LedgerEntry]:
    entries = entries.filter(wallet__user_id=user_id).order_by("-number")
    if after is not None:
        seen = LedgerEntry.objects.filter(id=after, wallet__user_id=user_id).values("number")
        entries = entries.filter(number__lt=Subquery(seen))
    return list(entries[offset : offset + limit])


def users_in_one_wallet(user_id: UUID) -> list[UUID]:
    """The users whose credits are in one wallet by now: this one, the account that they have become
    part of, and all guests who have become part of that. Those who are deleted have no id."""
    with prepared_cursor() as cursor:
        cursor.execute(_ONE_WALLET, [user_id])
        return [UUID(str(found)) for (found,) in cursor.fetchall()] or [user_id]


_ONE_WALLET = """
WITH RECURSIVE up AS (
    SELECT id, merged_into_id FROM credits_wallet WHERE user_id = %s
    UNION ALL
    SELECT w.id, w.merged_into_id FROM credits_wallet w JOIN up ON w.id = up.merged_into_id
), down AS (
    SELECT id FROM up WHERE merged_into_id IS NULL
    UNION ALL
    SELECT w.id FROM credits_wallet w JOIN down ON w.merged_into_id = down.id
)
SELECT user_id FROM credits_wallet WHERE id IN (SELECT id FROM down) AND user_id IS NOT NULL
"""


def lots_of(entries: Iterable[LedgerEntry]) -> dict[UUID, Lot]:
    """The lots that these entries touched, by their ids."""
    ids = {UUID(lot_id) for entry in entries for lot_id, _ in entry.lots}
    return {lot.id: lot for lot in Lot.objects.filter(id__in=ids)}


def wallet_held(user_id: UUID) -> dict[str, Any]:
    """The user's wallet, for an export of everything held about them."""
    wallet = Wallet.objects.get(user_id=user_id)
    return {
        "balance": wallet.balance,
        "debt": wallet.debt,
        "lifetime_total": wallet.lifetime_total,
        "state": wallet.state,
        "created_at": iso(wallet.created_at),
    }


def lots_held(user_id: UUID) -> Iterator[dict[str, Any]]:
    """All lots that the user has or had, oldest first; those of a merged guest have moved along."""
    for lot in Lot.objects.filter(wallet__user_id=user_id).order_by("id").iterator():
        yield {
            "lot_id": lot.id,
            "source": lot.source,
            "amount": lot.amount,
            "remaining": lot.remaining,
            "transaction_id": lot.transaction_id,
            "expires_at": iso(lot.expires_at),
            "lapsed": lot.lapsed,
            "taken_back": lot.taken_back,
            "owed": lot.owed,
            "revoked_at": iso(lot.revoked_at),
            "created_at": iso(lot.created_at),
        }


def entries_held(user_id: UUID) -> Iterator[dict[str, Any]]:
    """All entries of the user's ledger, oldest first, before them those of a guest they once were.

    Who of our staff wrote one is not theirs.
    """
    theirs = Q(wallet__user_id=user_id) | Q(wallet__merged_into__user_id=user_id)
    entries = LedgerEntry.objects.filter(theirs).order_by("created_at", "number")
    for entry in entries.iterator():
        yield {
            "entry_id": entry.id,
            "kind": entry.kind,
            "change": entry.change,
            "balance_after": entry.balance_after,
            "debt_change": entry.debt_change,
            "debt_after": entry.debt_after,
            "reason": entry.reason,
            "job_id": entry.job_id,
            "transaction_id": entry.transaction_id,
            "created_at": iso(entry.created_at),
        }


def codes_among(texts: Collection[str]) -> set[str]:
    """Those of `texts` that are promotion codes, as credits.services.normalize_code writes them."""
    found = PromotionCode.objects.filter(code__in=texts).values_list("code", flat=True)
    return set(found)


def redemptions_held(user_id: UUID) -> Iterator[dict[str, Any]]:
    """All codes that the user has redeemed, oldest first; those of a merged guest have moved
    along."""
    redemptions = Redemption.objects.filter(wallet__user_id=user_id).order_by("id")
    for redemption in redemptions.select_related("code", "entry").iterator():
        yield {
            "code": redemption.code.code,
            "entry_id": redemption.entry_id,
            "credits": redemption.entry.change - redemption.entry.debt_change,
            "redeemed_at": iso(redemption.redeemed_at),
        }


def count_refunds_after_spending(user_ids: Collection[UUID], *, since: datetime, most: int) -> int:
    """How many store refunds since then took credits that these users had spent, and were not
    reversed; no more than `most` are counted."""
    spent = Lot.objects.filter(wallet__user_id__in=user_ids, owed__gt=0, revoked_at__gte=since)
    return spent[:most].count()


def debt_of(user_ids: Collection[UUID]) -> int:
    """What these users owe in all, in credits."""
    owed = Wallet.objects.filter(user_id__in=user_ids).aggregate(total=Sum("debt"))["total"]
    return owed or 0


@dataclass(frozen=True)
class LotUse:
    """What became of the credits that a transaction brought."""

    brought: int  # with what repaid a debt, which had been spent before
    used: int  # spent, and not returned since
    jobs: int  # that took some of them
    failed_jobs: int  # of these: refunded, for want of their video

    @property
    def share(self) -> int:
        """How much is used, in thousandths of a percent as Apple counts, never more than is."""
        return self.used * 100_000 // self.brought


def use_of(transaction_id: str) -> LotUse | None:
    """None where the transaction brought nothing. Reads the entries of the wallets that its lot has
    been in, so it is not for the hot path."""
    lot = Lot.objects.filter(transaction_id=transaction_id).first()
    if lot is None:
        return None
    granted = LedgerEntry.objects.get(transaction_id=transaction_id, kind=Kind.GRANT)
    brought = granted.change - granted.debt_change
    # A reversed store refund may leave more in a lot than it brought.
    used = max(brought - lot.remaining - lot.lapsed - lot.taken_back, 0)
    touched = LedgerEntry.objects.filter(
        wallet_id__in=_way(granted.wallet_id, lot.wallet_id), lots__contains=[[str(lot.id)]]
    )
    jobs = set(touched.filter(kind=Kind.CHARGE).values_list("job_id", flat=True))
    failed = LedgerEntry.objects.filter(kind=Kind.REFUND, job_id__in=jobs).count()
    return LotUse(brought=brought, used=used, jobs=len(jobs), failed_jobs=failed)


def _way(wallet_id: UUID, last_id: UUID) -> list[UUID]:
    """The wallets from one to the one that merges have led to."""
    way = [wallet_id]
    while way[-1] != last_id:
        way.append(Wallet.objects.values_list("merged_into_id", flat=True).get(id=way[-1]))
    return way


@dataclass(frozen=True)
class Difference:
    """One place where the ledger and what it should add up to disagree."""

    wallet_id: UUID
    what: str
    expected: int
    found: int


# Each check selects (wallet, expected by the entries, found); only rows that differ come back.
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
    # A merge moves it along, but for what lapsed: it adds up over a wallet and its merged ones.
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
    "a lot's lapsed credits are not what its entries say": """
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
class Proof:
    differences: list[Difference]
    wallets: int
    entries: int


def prove() -> Proof:
    """Replay the whole ledger in one snapshot, so that money which moves meanwhile is no
    difference. Opens its own transaction, which takes as long as it takes."""
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute("SET LOCAL statement_timeout = 0")
        return Proof(differences(), *ledger_size())


def last_proof() -> LedgerProof:
    return LedgerProof.objects.get()


def differences(*, most: int = 100) -> list[Difference]:
    """Replay the whole ledger; an empty list is the proof that every number follows from it."""
    found: list[Difference] = []
    with connection.cursor() as cursor:
        for what, sql in _CHECKS.items():
            cursor.execute(f"{sql} LIMIT %s", [most])
            found += [Difference(row[0], what, row[1], row[2]) for row in cursor.fetchall()]
    return found[:most]


def ledger_size() -> tuple[int, int]:
    """How many wallets and entries there are."""
    with connection.cursor() as cursor:
        cursor.execute("""
            SELECT (SELECT count(*) FROM credits_wallet),
                   (SELECT count(*) FROM credits_ledgerentry)""")
        wallets, entries = cursor.fetchone()
    return wallets, entries


class Flow(TextChoices):
    """In which way credits come into wallets and leave them, all wallets taken together."""

    SOLD = "sold"  # for money
    TESTED = "tested"  # bought in Apple's sandbox: nobody paid
    GRANTED = "granted"  # at a welcome, by a code, in a free trial, by support
    SPENT = "spent"  # on jobs
    REFUNDED = "refunded"  # for jobs that failed or were cancelled
    LAPSED = "lapsed"
    TAKEN_BACK = "taken back"  # by store refunds, those that were reversed taken off
    ADJUSTED = "adjusted"  # by support, up or down


_TEST = Q(transaction_id__startswith=SANDBOX_PREFIX)
# As billing words the grant of a purchase that cost nothing.
_FREE = Q(reason__in=["free trial", "free offer"])
_FLOW = Case(
    When(Q(kind=Kind.GRANT) & _TEST, then=Value(Flow.TESTED)),
    When(Q(kind=Kind.GRANT) & _FREE, then=Value(Flow.GRANTED)),
    When(kind=Kind.GRANT, transaction_id__isnull=False, then=Value(Flow.SOLD)),
    When(kind=Kind.GRANT, then=Value(Flow.GRANTED)),
    When(kind=Kind.CHARGE, then=Value(Flow.SPENT)),
    When(kind=Kind.REFUND, then=Value(Flow.REFUNDED)),
    When(kind=Kind.EXPIRY, then=Value(Flow.LAPSED)),
    When(kind__in=[Kind.REVOCATION, Kind.REVERSAL], then=Value(Flow.TAKEN_BACK)),
    When(kind=Kind.ADJUSTMENT, then=Value(Flow.ADJUSTED)),
)


def flows(*, first: UUID, before: UUID) -> dict[Flow, int]:
    """Credits by the way they moved, below 0 where wallets lost them, of entries with these ids.

    What came in and repaid a debt, or was taken and became one, is in it. Between wallets that were
    merged nothing moves.
    """
    entries = LedgerEntry.objects.filter(id__gte=first, id__lt=before).exclude(kind=Kind.TRANSFER)
    moved = entries.values_list(_FLOW).annotate(total=Sum(F("change") - F("debt_change")))
    return {Flow(flow): total for flow, total in moved.order_by()}


def outstanding() -> tuple[int, int]:
    """How many credits all wallets hold: those that somebody paid for, and all others. Looks at
    every lot that holds any: not for a page."""
    bought = Q(source__in=PAID_SOURCES) & ~_TEST
    held = Lot.objects.filter(remaining__gt=0).aggregate(
        bought=Sum("remaining", filter=bought, default=0),
        given=Sum("remaining", filter=~bought, default=0),
    )
    return held["bought"], held["given"]
