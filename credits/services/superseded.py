"""Lots that a merge superseded: a second welcome, a code that both accounts had redeemed, or what
guests bought in Apple's sandbox above its limit.

A person keeps the worth of one welcome, of each code as often as it may be redeemed, and of test
purchases up to their limit. What is left of the other lots lapses in the merge
(credits.services.merging). Jobs may still return credits into them afterwards:

- A job that its user cancelled returns nothing of worth: its part lapses at once.
- A job that failed returns its part as long as the wallet then holds no more than the lots that
  count have brought. The rest lapses. So a failure costs its user nothing that they would have had
  without the merge, and nobody holds two welcomes at a time, in whatever order jobs end.

Superseded credits never repay a debt: a store refund that is reversed later would bring them back
as bought ones.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from uuid import UUID

from credits.models import SANDBOX_PREFIX, Lot, Source, Wallet
from credits.services.entries import expire


def expiry_reason(lot: Lot) -> str:
    """What the history says where credits of a superseded lot lapse."""
    if lot.transaction_id:
        return "test purchases above the limit"
    return "second welcome" if lot.source == Source.WELCOME else "second code"


def expire_excess(wallet: Wallet, *, now: datetime) -> None:
    """Lapse what superseded lots of a locked wallet hold beyond the worth of the lots that count.

    One query where no superseded lot holds anything, which is nearly always.
    """
    held = list(wallet.lots.filter(superseded_at__isnull=False, remaining__gt=0).order_by("id"))
    if not held:
        return
    groups = _groups(wallet)
    for lot in held:
        group = groups[lot.id]
        excess = min(_remaining(group) - _amount_of_counted(group), lot.remaining)
        if excess > 0:
            expire(wallet, lot, amount=excess, reason=expiry_reason(lot), now=now)


def _groups(wallet: Wallet) -> dict[UUID, list[UUID]]:
    """Lot id → the ids of all lots that came in the same way: the welcomes, one code's, or the test
    purchases."""
    groups: dict[object, list[UUID]] = defaultdict(list)
    welcomes = wallet.lots.filter(source=Source.WELCOME)
    groups[Source.WELCOME] = list(welcomes.values_list("id", flat=True))
    for code_id, lots in wallet.redemptions.values_list("code_id", "entry__lots"):
        groups[code_id] += [UUID(lot_id) for lot_id, _ in lots]
    tests = wallet.lots.filter(transaction_id__startswith=SANDBOX_PREFIX)
    groups[SANDBOX_PREFIX] = list(tests.values_list("id", flat=True))
    return {lot_id: lot_ids for lot_ids in groups.values() for lot_id in lot_ids}


def _remaining(lot_ids: list[UUID]) -> int:
    return sum(Lot.objects.filter(id__in=lot_ids).values_list("remaining", flat=True))


def _amount_of_counted(lot_ids: list[UUID]) -> int:
    """What those of the lots that count have brought."""
    counting = Lot.objects.filter(id__in=lot_ids, superseded_at=None)
    return sum(counting.values_list("amount", flat=True))
