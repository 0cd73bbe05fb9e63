"""The OpenAPI description of the credit endpoints."""

from __future__ import annotations

from rest_framework import serializers

from credits import api
from credits.errors import AccountSuspended
from credits.models import Kind
from credits.serializers import RedeemBody
from rendio.common.errors import InvalidState, NotFound
from rendio.common.web.openapi import PAGE, Operation, Operations, Tag


class ExpiringCredits(serializers.Serializer):
    credits = serializers.IntegerField(min_value=1)
    expires_at = serializers.DateTimeField()


class CreditsAnswer(serializers.Serializer):
    credits_remaining = serializers.IntegerField(min_value=0)
    credits_total = serializers.IntegerField(min_value=0)
    expiring = ExpiringCredits(many=True)


class CreditEntry(serializers.Serializer):
    id = serializers.UUIDField()
    change = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=Kind.choices)
    reason = serializers.CharField(allow_blank=True)
    job_id = serializers.UUIDField(allow_null=True)
    balance_after = serializers.IntegerField(min_value=0)
    created_at = serializers.DateTimeField()


class CreditHistoryAnswer(serializers.Serializer):
    entries = CreditEntry(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class RedeemedAnswer(serializers.Serializer):
    credits_added = serializers.IntegerField(min_value=0)
    credits_remaining = serializers.IntegerField(min_value=0)
    expires_at = serializers.DateTimeField(allow_null=True)


OPERATIONS: Operations = {
    api.GetCredits: Operation(
        tag=Tag.CREDITS,
        summary="Get the balance",
        text="`expiring` lists the credits that expire, the earliest first.",
        response=CreditsAnswer,
        response_example={
            "credits_remaining": 16,
            "credits_total": 30,
            "expiring": [{"credits": 6, "expires_at": "2026-12-24T12:00:00Z"}],
        },
        refusals=(NotFound,),
    ),
    api.GetCreditHistory: Operation(
        tag=Tag.CREDITS,
        summary="List all changes of the balance",
        text="Newest first.",
        parameters=PAGE,
        response=CreditHistoryAnswer,
        response_example={
            "entries": [
                {
                    "id": "01a1fc89-91ea-73fa-8415-4b583de90bfc",
                    "change": -4,
                    "kind": "charge",
                    "reason": "",
                    "job_id": "01a1fc89-91ea-73fa-8415-4b583de90bfb",
                    "balance_after": 6,
                    "created_at": "2026-11-21T05:17:16Z",
                }
            ],
            "next_cursor": "AaH8iZHqc_qEFUtYPekL_A",
        },
    ),
    api.RedeemCode: Operation(
        tag=Tag.CREDITS,
        summary="Redeem a promotion code",
        body=RedeemBody,
        request_example={"code": "SUMMER25"},
        response=RedeemedAnswer,
        response_example={
            "credits_added": 20,
            "credits_remaining": 26,
            "expires_at": "2026-12-21T05:17:16Z",
        },
        refusals=(NotFound, InvalidState, AccountSuspended),
    ),
}
