"""Serializers of the JSON calls for staff. Services check amounts and reasons."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rest_framework import serializers

from adminops.support.masking import CodeMask, masked
from adminops.support.user_stats import UserStats
from rendio.common.times import iso
from rendio.common.web.fields import (
    StrictBooleanField,
    StrictCharField,
    StrictIntegerField,
    TextUUIDField,
)


class UserActBody(serializers.Serializer):
    user_id = TextUUIDField()
    reason = StrictCharField()


class AmountBody(UserActBody):
    amount = StrictIntegerField()


class ToggleModelBody(serializers.Serializer):
    model_id = TextUUIDField()
    is_available = StrictBooleanField()
    reason = StrictCharField()


def stats_json(
    stats: UserStats, *, in_clear: bool, with_codes: bool, now: datetime
) -> dict[str, Any]:
    """The response of admin-user-stats. Without `in_clear` the e-mail address is masked, without
    `with_codes` promotion codes are."""
    user, balance = stats.user, stats.balance
    reasons = [user.suspended_reason, *(entry.reason for entry in stats.recent_entries)]
    visible = str if with_codes else CodeMask.for_texts(*reasons).mask
    return {
        "user": {
            "id": user.id,
            "username": user.username,
            "email": user.email if in_clear else masked(user.email),
            "is_guest": user.is_guest,
            "is_staff": user.is_staff,
            "tier": user.tier_at(now),
            "language": user.language,
            "credits_remaining": balance.balance if balance else 0,
            "credits_total": balance.lifetime_total if balance else 0,
            "credits_owed": balance.debt if balance else 0,
            "is_banned": user.suspended_at is not None,
            "banned_at": iso(user.suspended_at),
            "banned_reason": visible(user.suspended_reason),
            "closed_at": iso(user.closed_at),
            "created_at": iso(user.created_at),
        },
        "stats": {
            "total_jobs": stats.total_jobs,
            "completed_jobs": stats.completed_jobs,
            "failed_jobs": stats.failed_jobs,
            "success_rate": stats.success_rate,
        },
        "recent_transactions": [
            {
                "id": entry.id,
                "change": entry.change,
                "kind": entry.kind,
                "reason": visible(entry.reason),
                "job_id": entry.job_id,
                "balance_after": entry.balance_after,
                "created_at": iso(entry.created_at),
            }
            for entry in stats.recent_entries
        ],
    }
