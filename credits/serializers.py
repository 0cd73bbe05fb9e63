"""The body of redeem-code, and responses: for each, the serializer that describes it and its
builder. Unknown fields of the body are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rest_framework import serializers

from credits.models import Kind, LedgerEntry
from credits.queries import BalanceSummary, HistoryEntry
from credits.services import Redeemed
from rendio.common.times import iso
from rendio.common.web.fields import StrictCharField


class RedeemBody(serializers.Serializer):
    code = StrictCharField(max_length=64)


class ExpiringCredits(serializers.Serializer):
    credits = serializers.IntegerField(min_value=1)
    expires_at = serializers.DateTimeField()


class CreditsAnswer(serializers.Serializer):
    credits_remaining = serializers.IntegerField(min_value=0)
    credits_total = serializers.IntegerField(min_value=0)
    expiring = ExpiringCredits(many=True)


def credits_json(summary: BalanceSummary) -> dict[str, Any]:
    return {
        "credits_remaining": summary.balance,
        "credits_total": summary.lifetime_total,
        "expiring": [
            {"credits": expiring.credits, "expires_at": iso(expiring.expires_at)}
            for expiring in summary.expiring
        ],
    }


class CreditEntry(serializers.Serializer):
    id = serializers.UUIDField()
    change = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=Kind.choices)
    reason = serializers.CharField(allow_blank=True)
    job_id = serializers.UUIDField(allow_null=True)
    balance_after = serializers.IntegerField(min_value=0)
    created_at = serializers.DateTimeField()


def entry_json(entry: LedgerEntry | HistoryEntry, *, reason: str) -> dict[str, Any]:
    """`reason` is the entry's reason as the caller may see it."""
    return {
        "id": entry.id,
        "change": entry.change,
        "kind": entry.kind,
        "reason": reason,
        "job_id": entry.job_id,
        "balance_after": entry.balance_after,
        "created_at": iso(entry.created_at),
    }


class CreditHistoryAnswer(serializers.Serializer):
    entries = CreditEntry(many=True)
    next_cursor = serializers.CharField(allow_null=True)


def history_json(page: Sequence[HistoryEntry], *, next_cursor: str | None) -> dict[str, Any]:
    return {
        "entries": [entry_json(entry, reason=entry.reason) for entry in page],
        "next_cursor": next_cursor,
    }


class RedeemedAnswer(serializers.Serializer):
    credits_added = serializers.IntegerField(min_value=0)
    credits_remaining = serializers.IntegerField(min_value=0)
    expires_at = serializers.DateTimeField(allow_null=True)


def redeemed_json(redeemed: Redeemed) -> dict[str, Any]:
    return {
        "credits_added": redeemed.credits_added,
        "credits_remaining": redeemed.credits_remaining,
        "expires_at": iso(redeemed.expires_at),
    }
