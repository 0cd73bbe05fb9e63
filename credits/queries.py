"""Reads for other apps: balances, history, and the use of a purchase's credits."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db.models import Subquery, Sum

from credits.models import Kind, LedgerEntry, Lot, PromotionCode, Wallet
from rendio.common.db import prepared_cursor
from rendio.common.errors import NotFound


@dataclass(frozen=True)
class ExpiringCredits:
    """`credits` expire at `expires_at` unless they are spent."""

    credits: int
    expires_at: datetime


@dataclass(frozen=True)
class BalanceSummary:
    """A user's credits. `expiring`: at most MAX_EXPIRY_DATES dates, the earliest first."""

    balance: int
    lifetime_total: int
    expiring: list[ExpiringCredits]


MAX_EXPIRY_DATES = 20


# One round trip, as for the balance alone. The lots come from the index of spendable lots.
_BALANCE_SUMMARIES = """
SELECT wallet.user_id, wallet.balance, wallet.lifetime_total, soonest.credits, soonest.expires_at
FROM credits_wallet wallet
LEFT JOIN LATERAL (
    SELECT sum(remaining) AS credits, expires_at FROM credits_lot
    WHERE wallet_id = wallet.id AND remaining > 0 AND expires_at IS NOT NULL
    GROUP BY expires_at ORDER BY expires_at LIMIT %s
) soonest ON TRUE
WHERE wallet.user_id = ANY(%s)
ORDER BY soonest.expires_at
"""


def balance_summary(user_id: UUID) -> BalanceSummary:
    """Return the user's credits and their expiry dates. Raises NotFound if there is no wallet."""
    found = balance_summaries([user_id])
    if user_id not in found:
        raise NotFound
    return found[user_id]


def balance_summaries(user_ids: Iterable[UUID]) -> dict[UUID, BalanceSummary]:
    """`balance_summary` of several users, by user, without those that have no wallet."""
    with prepared_cursor() as cursor:
        cursor.execute(_BALANCE_SUMMARIES, [MAX_EXPIRY_DATES, [*user_ids]])
        rows = cursor.fetchall()
    found: dict[UUID, BalanceSummary] = {}
    for user_id, balance, lifetime_total, credits, expires_at in rows:
        summary = found.setdefault(user_id, BalanceSummary(balance, lifetime_total, []))
        if credits:
            summary.expiring.append(ExpiringCredits(credits, expires_at))
    return found


def history(*, user_id: UUID, limit: int, after: UUID | None = None) -> list[LedgerEntry]:
    """Return a user's entries for staff, newest first, with the stored reasons: staff may lack the
    permission for promotion codes. `after`: the id of the last entry of the page before.
    """
    # The wallet is found first, not joined: the page is then a range of the index.
    wallet_id = Subquery(Wallet.objects.filter(user_id=user_id).values("id"))
    entries = LedgerEntry.objects.filter(wallet_id=wallet_id).order_by("-number")
    if after is not None:
        seen = LedgerEntry.objects.filter(id=after, wallet_id=wallet_id).values("number")
        entries = entries.filter(number__lt=Subquery(seen))
    return list(entries[:limit])


class HistoryEntry(NamedTuple):
    """A ledger entry for the user's own eyes: the reason names a redeemed promotion code."""

    id: UUID
    change: int
    kind: str
    reason: str
    job_id: UUID | None
    balance_after: int
    created_at: datetime


# The wallet and the bound are found first, so that the page is a range of the index, which is
# sorted already. Without the entry `after`, the page is empty.
_OWN_HISTORY = """
SELECT entry.id, entry.change, entry.kind,
    CASE WHEN code.id IS NULL THEN entry.reason ELSE 'code ' || code.code END,
    entry.job_id, entry.balance_after, entry.created_at
FROM credits_ledgerentry entry
LEFT JOIN credits_redemption redemption ON redemption.entry_id = entry.id
LEFT JOIN credits_promotioncode code ON code.id = redemption.code_id
WHERE entry.wallet_id = (SELECT id FROM credits_wallet WHERE user_id = %(user_id)s)
    AND entry.number < CASE WHEN %(after)s::uuid IS NULL THEN %(above_all)s ELSE (
        SELECT seen.number FROM credits_ledgerentry seen
        WHERE seen.id = %(after)s
            AND seen.wallet_id = (SELECT id FROM credits_wallet WHERE user_id = %(user_id)s)
    ) END
ORDER BY entry.number DESC LIMIT %(limit)s OFFSET %(offset)s
"""
_ABOVE_ALL_NUMBERS = 2**31 - 1


def own_history(
    *, user_id: UUID, limit: int, offset: int, after: UUID | None
) -> list[HistoryEntry]:
    """Return a user's entries for the user, newest first. `after`: as for `history`."""
    with prepared_cursor() as cursor:
        cursor.execute(
            _OWN_HISTORY,
            {
                "user_id": user_id,
                "after": after,
                "above_all": _ABOVE_ALL_NUMBERS,
                "limit": limit,
                "offset": offset,
            },
        )
        return [HistoryEntry._make(row) for row in cursor.fetchall()]


def users_sharing_wallet(user_id: UUID) -> list[UUID]:
    """Return the users whose credits are in one wallet after merges: this user, the account it was
    merged into, and all guests merged into that account. Deleted users have no id.
    """
    with prepared_cursor() as cursor:
        cursor.execute(_USERS_SHARING_WALLET, [user_id])
        return [UUID(str(found)) for (found,) in cursor.fetchall()] or [user_id]


_USERS_SHARING_WALLET = """
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


def lots_touched_by(entries: Iterable[LedgerEntry]) -> dict[UUID, Lot]:
    """Return the lots that these entries changed, by id."""
    ids = {UUID(lot_id) for entry in entries for lot_id, _ in entry.lots}
    return {lot.id: lot for lot in Lot.objects.filter(id__in=ids)}


def find_codes(texts: Collection[str]) -> set[str]:
    """Return those of `texts` that are promotion codes (normalized by normalize_code)."""
    found = PromotionCode.objects.filter(code__in=texts).values_list("code", flat=True)
    return set(found)


def count_clawbacks_of_spent_credits(
    user_ids: Collection[UUID], *, since: datetime, most: int
) -> int:
    """Count the store refunds since `since` that left a debt for credits that these users had
    spent, without reversed ones. Stops at `most`.
    """
    spent = Lot.objects.filter(
        wallet__user_id__in=user_ids, debt_from_clawback__gt=0, revoked_at__gte=since
    )
    return spent[:most].count()


def total_debt(user_ids: Collection[UUID]) -> int:
    """Return these users' total debt in credits."""
    owed = Wallet.objects.filter(user_id__in=user_ids).aggregate(total=Sum("debt"))["total"]
    return owed or 0


@dataclass(frozen=True)
class LotUsage:
    """The use of the credits that a transaction granted."""

    brought: int  # including the part that repaid a debt: it had been spent before
    used: int  # spent, and not refunded since
    jobs: int  # jobs that were charged to the lot
    failed_jobs: int  # of these, refunded because they produced no video

    @property
    def share(self) -> int:
        """The used share in thousandths of a percent, as Apple counts, rounded down."""
        return self.used * 100_000 // self.brought


def lot_usage(transaction_id: str) -> LotUsage | None:
    """Return the usage of a transaction's lot, or None if the transaction granted nothing. Reads
    all entries of the wallets that held the lot: not for the hot path.
    """
    lot = Lot.objects.filter(transaction_id=transaction_id).first()
    if lot is None:
        return None
    granted = LedgerEntry.objects.get(transaction_id=transaction_id, kind=Kind.GRANT)
    brought = granted.change - granted.debt_change
    # After a reversed store refund, a lot may hold more than it was granted.
    used = max(brought - lot.remaining - lot.expired_amount - lot.clawed_back, 0)
    touched = LedgerEntry.objects.filter(
        wallet_id__in=_merge_chain(granted.wallet_id, lot.wallet_id), lots__contains=[[str(lot.id)]]
    )
    jobs = set(touched.filter(kind=Kind.CHARGE).values_list("job_id", flat=True))
    failed = LedgerEntry.objects.filter(kind=Kind.REFUND, job_id__in=jobs).count()
    return LotUsage(brought=brought, used=used, jobs=len(jobs), failed_jobs=failed)


def _merge_chain(wallet_id: UUID, last_id: UUID) -> list[UUID]:
    """Return the wallets from `wallet_id` to `last_id`, in the order of their merges."""
    way = [wallet_id]
    while way[-1] != last_id:
        way.append(Wallet.objects.values_list("merged_into_id", flat=True).get(id=way[-1]))
    return way
