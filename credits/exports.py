"""Sections of a user's data export: the wallet, lots, ledger entries and redeemed codes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.db.models import Q

from credits.models import LedgerEntry, Lot, Redemption, Wallet
from rendio.common.times import iso


def export_wallet(user_id: UUID) -> dict[str, Any]:
    """The user's wallet, for the data export."""
    wallet = Wallet.objects.get(user_id=user_id)
    return {
        "balance": wallet.balance,
        "debt": wallet.debt,
        "lifetime_total": wallet.lifetime_total,
        "state": wallet.state,
        "created_at": iso(wallet.created_at),
    }


def export_lots(user_id: UUID) -> Iterator[dict[str, Any]]:
    """All lots that the user has or had, oldest first, including those of a merged guest."""
    for lot in Lot.objects.filter(wallet__user_id=user_id).order_by("id").iterator():
        yield {
            "lot_id": lot.id,
            "source": lot.source,
            "amount": lot.amount,
            "remaining": lot.remaining,
            "transaction_id": lot.transaction_id,
            "expires_at": iso(lot.expires_at),
            "lapsed": lot.expired_amount,
            "taken_back": lot.clawed_back,
            "owed": lot.debt_from_clawback,
            "revoked_at": iso(lot.revoked_at),
            "created_at": iso(lot.created_at),
        }


def export_entries(user_id: UUID) -> Iterator[dict[str, Any]]:
    """All ledger entries of the user, oldest first, including those of a merged guest. Without the
    member of staff who wrote them.
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


def export_redemptions(user_id: UUID) -> Iterator[dict[str, Any]]:
    """All codes that the user has redeemed, oldest first, including those of a merged guest."""
    redemptions = Redemption.objects.filter(wallet__user_id=user_id).order_by("id")
    for redemption in redemptions.select_related("code", "entry").iterator():
        yield {
            "code": redemption.code.code,
            "entry_id": redemption.entry_id,
            "credits": redemption.entry.change - redemption.entry.debt_change,
            "redeemed_at": iso(redemption.redeemed_at),
        }
