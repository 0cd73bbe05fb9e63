"""Bodies and responses of the JSON calls for staff. Services check amounts and reasons."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rest_framework import serializers

from accounts.models import Language, Tier
from adminops.actions.credits import GrantResult
from adminops.support.masking import CodeMask, masked
from adminops.support.user_stats import UserStats
from credits.serializers import CreditEntry, entry_json
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


class NewBalance(serializers.Serializer):
    success = serializers.ChoiceField(choices=[True])
    new_balance = serializers.IntegerField(min_value=0)


def new_balance_json(result: GrantResult) -> dict[str, Any]:
    return {"success": True, "new_balance": result.balance}


class CustomerAnswer(serializers.Serializer):
    id = serializers.UUIDField()
    username = serializers.CharField(allow_null=True)
    email = serializers.CharField(allow_null=True)
    is_guest = serializers.BooleanField()
    is_staff = serializers.BooleanField()
    tier = serializers.ChoiceField(choices=Tier.choices)
    language = serializers.ChoiceField(choices=Language.choices)
    credits_remaining = serializers.IntegerField(min_value=0)
    credits_total = serializers.IntegerField(min_value=0)
    credits_owed = serializers.IntegerField(min_value=0)
    is_banned = serializers.BooleanField()
    banned_at = serializers.DateTimeField(allow_null=True)
    banned_reason = serializers.CharField(allow_blank=True)
    closed_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class JobCounts(serializers.Serializer):
    total_jobs = serializers.IntegerField(min_value=0)
    completed_jobs = serializers.IntegerField(min_value=0)
    failed_jobs = serializers.IntegerField(min_value=0)
    success_rate = serializers.FloatField(allow_null=True, min_value=0, max_value=1)


class UserStatsAnswer(serializers.Serializer):
    user = CustomerAnswer()
    stats = JobCounts()
    recent_transactions = CreditEntry(many=True)


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
            entry_json(entry, reason=visible(entry.reason)) for entry in stats.recent_entries
        ],
    }
