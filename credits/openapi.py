"""The OpenAPI description of the credit endpoints."""

from __future__ import annotations

from credits import api
from credits.errors import AccountSuspended
from credits.serializers import CreditHistoryAnswer, CreditsAnswer, RedeemBody, RedeemedAnswer
from rendio.common.errors import InvalidState, NotFound
from rendio.common.web.openapi import PAGE, Operation, Operations, Tag

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
