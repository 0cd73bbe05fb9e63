"""Reads for other apps: a user's balance and history, what became of a purchase's credits."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import QuerySet, Subquery, Sum

from credits.models import Kind, LedgerEntry, Lot, PromotionCode, Redemption, Wallet
from rendio.common.db import prepared_cursor
from rendio.common.errors import NotFound


@dataclass(frozen=True)
class ExpiringCredits:
    """How many credits lapse at that time, if they are not spent."""

    credits: int
    expires_at: datetime


@dataclass(frozen=True)
class BalanceSummary:
    """What a user has; `expiring` is the soonest first, MAX_EXPIRING times at most."""

    balance: int
    lifetime_total: int
    expiring: list[ExpiringCredits]


MAX_EXPIRY_DATES = 20


# One trip, as for the balance alone: the lots come by the index of those that can be spent.
_BALANCE_SUMMARY = """
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


def balance_summary(user_id: UUID) -> BalanceSummary:
    """The user's credits, and when they lapse. Raises NotFound where there is no wallet."""
    with prepared_cursor() as cursor:
        cursor.execute(_BALANCE_SUMMARY, [MAX_EXPIRY_DATES, user_id])
        rows = cursor.fetchall()
    if not rows:
        raise NotFound
    expiring = [
        ExpiringCredits(credits, expires_at) for _, _, credits, expires_at in rows if credits
    ]
    return BalanceSummary(rows[0][0], rows[0][1], expiring)


def history(
    *, user_id: UUID, limit: int, offset: int = 0, after: UUID | None = None
) -> list[LedgerEntry]:
    """A user's entries, newest first; `after` is the id of the last entry already seen."""
    return _history(LedgerEntry.objects.all(), user_id, limit=limit, offset=offset, after=after)


def history_with_codes(
    *, user_id: UUID, limit: int, offset: int = 0, after: UUID | None = None
) -> list[tuple[LedgerEntry, str]]:
    """The same for the user themselves: each entry with its reason, which names the promotion code
    that they redeemed. Staff may read a reason without being allowed to know codes."""
    entries = LedgerEntry.objects.select_related("redemption__code")
    found = _history(entries, user_id, limit=limit, offset=offset, after=after)
    return [(entry, _reason_with_code(entry)) for entry in found]


def _reason_with_code(entry: LedgerEntry) -> str:
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


def users_sharing_wallet(user_id: UUID) -> list[UUID]:
    """The users whose credits are in one wallet by now: this one, the account that they have become
    part of, and all guests who have become part of that. Those who are deleted have no id."""
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
    """The lots that these entries touched, by their ids."""
    ids = {UUID(lot_id) for entry in entries for lot_id, _ in entry.lots}
    return {lot.id: lot for lot in Lot.objects.filter(id__in=ids)}


def find_codes(texts: Collection[str]) -> set[str]:
    """Those of `texts` that are promotion codes, as credits.services.normalize_code writes them."""
    found = PromotionCode.objects.filter(code__in=texts).values_list("code", flat=True)
    return set(found)


def count_clawbacks_of_spent_credits(
    user_ids: Collection[UUID], *, since: datetime, most: int
) -> int:
    """How many store refunds since then took credits that these users had spent, and were not
    reversed; no more than `most` are counted."""
    spent = Lot.objects.filter(
        wallet__user_id__in=user_ids, debt_from_clawback__gt=0, revoked_at__gte=since
    )
    return spent[:most].count()


def total_debt(user_ids: Collection[UUID]) -> int:
    """What these users owe in all, in credits."""
    owed = Wallet.objects.filter(user_id__in=user_ids).aggregate(total=Sum("debt"))["total"]
    return owed or 0


@dataclass(frozen=True)
class LotUsage:
    """What became of the credits that a transaction brought."""

    brought: int  # with what repaid a debt, which had been spent before
    used: int  # spent, and not returned since
    jobs: int  # that took some of them
    failed_jobs: int  # of these: refunded, for want of their video

    @property
    def share(self) -> int:
        """How much is used, in thousandths of a percent as Apple counts, never more than is."""
        return self.used * 100_000 // self.brought


def lot_usage(transaction_id: str) -> LotUsage | None:
    """None where the transaction brought nothing. Reads the entries of the wallets that its lot has
    been in, so it is not for the hot path."""
    lot = Lot.objects.filter(transaction_id=transaction_id).first()
    if lot is None:
        return None
    granted = LedgerEntry.objects.get(transaction_id=transaction_id, kind=Kind.GRANT)
    brought = granted.change - granted.debt_change
    # A reversed store refund may leave more in a lot than it brought.
    used = max(brought - lot.remaining - lot.expired_amount - lot.clawed_back, 0)
    touched = LedgerEntry.objects.filter(
        wallet_id__in=_merge_chain(granted.wallet_id, lot.wallet_id), lots__contains=[[str(lot.id)]]
    )
    jobs = set(touched.filter(kind=Kind.CHARGE).values_list("job_id", flat=True))
    failed = LedgerEntry.objects.filter(kind=Kind.REFUND, job_id__in=jobs).count()
    return LotUsage(brought=brought, used=used, jobs=len(jobs), failed_jobs=failed)


def _merge_chain(wallet_id: UUID, last_id: UUID) -> list[UUID]:
    """The wallets from one to the one that merges have led to."""
    way = [wallet_id]
    while way[-1] != last_id:
        way.append(Wallet.objects.values_list("merged_into_id", flat=True).get(id=way[-1]))
    return way
