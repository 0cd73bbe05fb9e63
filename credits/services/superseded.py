"""Lots that a merge superseded: a second welcome grant, a code that both accounts had redeemed, and
sandbox purchases of guests above the limit.

A customer keeps the value of one welcome grant, of each code up to its limit per user, and of
sandbox purchases up to their limit. The merge expires what is left of the other lots
(credits.services.merging). Jobs may return credits to these lots afterwards:

- A cancelled job: its part expires at once.
- A failed job: its part stays, as long as the wallet holds no more than the counted lots granted.
  The rest expires. A failure therefore costs the user nothing, and no user holds two welcome grants
  at a time, in any order of the jobs' ends.

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
    """Return the reason in the user's history for credits of a superseded lot that expire."""
    if lot.transaction_id:
        return "test purchases above the limit"
    return "second welcome" if lot.source == Source.WELCOME else "second code"


def expire_excess(wallet: Wallet, *, now: datetime) -> None:
    """Expire credits of a locked wallet's superseded lots beyond the amount of the counted lots.

    One query if no superseded lot holds credits, which is nearly always so.
    """
    superseded_lots = list(
        wallet.lots.filter(superseded_at__isnull=False, remaining__gt=0).order_by("id")
    )
    if not superseded_lots:
        return
    groups = _groups(wallet)
    for lot in superseded_lots:
        group = groups[lot.id]
        excess = min(_remaining(group) - _amount_of_counted(group), lot.remaining)
        if excess > 0:
            expire(wallet, lot, amount=excess, reason=expiry_reason(lot), now=now)


def _groups(wallet: Wallet) -> dict[UUID, list[UUID]]:
    """Map each lot id to the ids of all lots of the same origin: welcome grants, one code, sandbox
    purchases.
    """
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
    """Return the amount granted by those lots that are not superseded."""
    counted = Lot.objects.filter(id__in=lot_ids, superseded_at=None)
    return sum(counted.values_list("amount", flat=True))
